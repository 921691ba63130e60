"""Tokens of the mel columns of a whole waveform, encoded block by block for all faces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avsync.core.constants import FRAME_RATE, MEL_RATE, WINDOW_FRAMES, WINDOW_MELS
from avsync.core.records import Clip, Waveform
from avsync.networks.base import Scorer
from avsync.networks.blocks import BLOCK_FRAMES, Blocks
from avsync.networks.windows import first_columns, number


class Columns:
    """The tokens of the mel columns of one waveform, of a network that has `audio_context`."""

    def __init__(self, scorer: Scorer, waveform: Waveform) -> None:
        self.scorer = scorer
        width = BLOCK_FRAMES * MEL_RATE // FRAME_RATE
        self.blocks = Blocks(waveform, scorer.model.audio_context, width, self._tokens)

    def windows(self, clip: Clip, frames: npt.NDArray[np.int64]) -> Tensor:
        """Tokens (n, 16, d) of the audio windows at `frames` (n,), ascending, counted from those of a
        clip."""
        numbers = number(clip) + frames
        low, high = int(numbers[0]) // BLOCK_FRAMES, (int(numbers[-1]) + WINDOW_FRAMES) // BLOCK_FRAMES
        tokens = torch.cat([self.blocks.of(clip, block) for block in range(low, high + 1)])
        first = first_columns(numbers) - first_columns(np.array(low * BLOCK_FRAMES))
        columns = first[:, None] + np.arange(WINDOW_MELS)
        return tokens[torch.from_numpy(columns).to(self.scorer.device)]

    def _tokens(self, mel: npt.NDArray[np.float32]) -> Tensor:
        """Tokens (400, d) of the mel (80, 400 + 2 * context) of one block."""
        context = self.blocks.context
        tokens = self.scorer.model.column_tokens(torch.from_numpy(mel)[None].to(self.scorer.device))[0]
        return tokens[context : context + self.blocks.columns]
