"""Ctrl-C during scoring leaves the scores of the clips that were done by then, whichever clip it strikes."""

import numpy as np
import pytest

from avsync.core.errors import Interrupted
from avsync.core.records import Clip
from avsync.networks.windows import score_each

FRAMES = 15
CLIPS = [
    Clip(track, start_s, np.zeros((FRAMES, 48, 96, 3), np.uint8))
    for track, start_s in [(0, 0.0), (1, 0.0), (1, 2.0)]
]


@pytest.mark.parametrize("done", range(len(CLIPS)))
def test_ctrl_c_leaves_the_clips_that_were_scored(done: int):
    scored: list[Clip] = []

    def score(clip: Clip, starts: np.ndarray) -> np.ndarray:
        if len(scored) == done:
            raise KeyboardInterrupt
        scored.append(clip)
        return np.zeros((len(starts), 31), np.float32)

    with pytest.raises(Interrupted) as stopped:
        score_each(CLIPS, score, max_shift=15, stride=1, progress=None)
    assert {s.track for s in stopped.value.so_far} == {clip.track for clip in scored}
    windows = sum(len(clip.mouths) - 4 for clip in scored)
    assert sum(len(s.times_s) for s in stopped.value.so_far) == windows
