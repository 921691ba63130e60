"""Audio tokens that all faces share: each stretch of audio is encoded once, on one grid of the clock."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avsync.audio.mel import mel_span
from avsync.core.constants import FRAME_RATE, FRAME_S, MEL_RATE, SAMPLE_RATE, WINDOW_FRAMES, WINDOW_MELS
from avsync.core.records import Clip, Waveform
from avsync.networks.base import Scorer

FRAMES_PER_MEL_CYCLE = 5
"""Five frames are exactly sixteen mel columns, so windows five frames apart are cut alike."""
MEAN_FRAME = 2
"""Of those five, the one whose mel columns are rounded by as much, 0.4 of a column, as those of all five on
average."""
BLOCK_FRAMES = 25 * FRAMES_PER_MEL_CYCLE
"""Frames of audio that are encoded together."""
BLOCKS_KEPT = 6
"""Faces that are seen at once hand on their crops up to one block apart, and each piece of crops needs the
audio of two or three."""


def number(clip: Clip) -> int:
    """The number of a clip's first frame on the clock, 25 a second."""
    return round(clip.start_s * FRAME_RATE)


def first_columns(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The mel column at which the window of each frame begins, both counted from time 0."""
    return numbers * MEL_RATE // FRAME_RATE


class Columns:
    """The tokens of the mel columns of one waveform, of a network that has `audio_context`."""

    def __init__(self, scorer: Scorer, waveform: Waveform) -> None:
        self.scorer = scorer
        self.waveform = waveform
        self.blocks: dict[int, Tensor] = {}

    def windows(self, clip: Clip, frames: npt.NDArray[np.int64]) -> Tensor:
        """Tokens (n, 16, d) of the audio windows at `frames` (n,), ascending, counted from those of a
        clip."""
        numbers = number(clip) + frames
        low, high = int(numbers[0]) // BLOCK_FRAMES, (int(numbers[-1]) + WINDOW_FRAMES) // BLOCK_FRAMES
        tokens = torch.cat([self._block(clip, block) for block in range(low, high + 1)])
        first = first_columns(numbers) - first_columns(np.array(low * BLOCK_FRAMES))
        columns = first[:, None] + np.arange(WINDOW_MELS)
        return tokens[torch.from_numpy(columns).to(self.scorer.device)]

    def _block(self, clip: Clip, block: int) -> Tensor:
        """Tokens (400, d) of one block; its place is exact between frames, too, as the clip's is."""
        start_s = clip.start_s + (block * BLOCK_FRAMES - number(clip)) * FRAME_S
        key = round((start_s - self.waveform.start_s) * SAMPLE_RATE)
        found = self.blocks.pop(key, None)
        if found is None:
            model = self.scorer.model
            context, width = model.audio_context, BLOCK_FRAMES * MEL_RATE // FRAME_RATE
            mel = mel_span(self.waveform, start_s - context / MEL_RATE, width + 2 * context)
            tokens = model.column_tokens(torch.from_numpy(mel)[None].to(self.scorer.device))[0]
            found = tokens[context : context + width]
        self.blocks[key] = found
        if len(self.blocks) > BLOCKS_KEPT:
            del self.blocks[next(iter(self.blocks))]
        return found
