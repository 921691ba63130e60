"""Audio that all faces share: each stretch of it is encoded once, on one grid of the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from avsync.audio.mel import mel_span
from avsync.core.constants import FRAME_S, MEL_RATE, SAMPLE_RATE
from avsync.core.records import Clip, Waveform
from avsync.networks.windows import number

T = TypeVar("T")

FRAMES_PER_MEL_CYCLE = 5
"""Five frames are exactly sixteen mel columns, so windows five frames apart are cut alike."""
BLOCK_FRAMES = 25 * FRAMES_PER_MEL_CYCLE
"""Frames of audio that are encoded together."""
BLOCKS_KEPT = 6
"""Faces that are seen at once hand on their crops up to one block apart, and each piece of crops needs the
audio of two or three."""


class Blocks(Generic[T]):
    """What `encode` makes of the mel of each block of BLOCK_FRAMES frames of one waveform: (80, `columns` +
    2 * `context`), of which the first `context` columns lie before the block."""

    def __init__(
        self,
        waveform: Waveform,
        context: int,
        columns: int,
        encode: Callable[[npt.NDArray[np.float32]], T],
    ) -> None:
        self.waveform = waveform
        self.context, self.columns = context, columns
        self.encode = encode
        self.kept: dict[int, T] = {}

    def of(self, clip: Clip, block: int) -> T:
        """Block number `block` of the clock on which a clip lies; its place is exact between frames, too, as
        the clip's is."""
        start_s = clip.start_s + (block * BLOCK_FRAMES - number(clip)) * FRAME_S
        key = round((start_s - self.waveform.start_s) * SAMPLE_RATE)
        found = self.kept.pop(key, None)
        if found is None:
            begin_s = start_s - self.context / MEL_RATE
            found = self.encode(mel_span(self.waveform, begin_s, self.columns + 2 * self.context))
        self.kept[key] = found
        if len(self.kept) > BLOCKS_KEPT:
            del self.kept[next(iter(self.kept))]
        return found
