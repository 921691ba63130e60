"""What the published evaluation and the whole-clip estimate give for one prepared clip."""

from __future__ import annotations

from dataclasses import dataclass

from avsync.core.constants import FRAME_MS, MIN_PROBABILITY
from avsync.core.report import FaceDistance, Offset


@dataclass(frozen=True)
class ClipResult:
    """One clip: the share of correct windows for each input length K (5..15), by the published protocol and
    over existing candidates only; the whole clip's offset in ms (None: no answer) and its probability; and
    the clip's length in seconds. `syncnet`: the result of SyncNet's own evaluation, for that network;
    `changing`: whether the offset drifts or jumps within the clip, so that no one value is its offset."""

    id: str
    windows: int
    published: tuple[float, ...]
    existing: tuple[float, ...]
    offset_ms: float | None
    probability: float
    seconds: float
    syncnet: FaceDistance | None = None
    changing: bool = False

    @property
    def source(self) -> str:
        """The clip's source: the first two letters of the speaker's name."""
        return self.id[:2]

    @property
    def answered(self) -> bool:
        """Whether `check` would report the offset."""
        return self.offset_ms is not None and self.probability >= MIN_PROBABILITY

    @property
    def one_offset_ms(self) -> float | None:
        """The answer in ms, where there is one and it holds for the whole clip."""
        return self.offset_ms if self.answered and not self.changing else None

    def right(self, true_ms: float) -> bool:
        """Whether the offset is within a frame of the truth."""
        return self.offset_ms is not None and abs(self.offset_ms - true_ms) <= FRAME_MS


def changes(answer: Offset) -> bool:
    """Whether the offset drifts or jumps."""
    offsets = {part.offset_ms for part in answer.segments if part.offset_ms is not None}
    return bool(answer.drift_ms_per_min) or len(offsets) > 1
