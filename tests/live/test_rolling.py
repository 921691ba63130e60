"""Pieces of a stream are joined with all that was found in them, on one clock and with their own numbers."""

import numpy as np

from avsync.core.records import FaceTrack, Gap, Scores
from avsync.core.report import FaceDistance
from avsync.live.rolling import joined
from avsync.pipeline.stretch import Looked

SHIFTS = np.arange(-2, 3)


def piece(start_s: float, faces: int) -> Looked:
    """Two seconds of a stream with some faces, each with everything that can be known of one."""
    times = start_s + np.arange(10) / 25
    boxes, seen = np.zeros((50, 4), np.float32), np.ones(50, bool)
    numbers = range(faces)
    return Looked(
        spans=((start_s, start_s + 2),),
        tracks=tuple(FaceTrack(n, 0, start_s, boxes, seen, 0.9) for n in numbers),
        scores=tuple(Scores(n, times, SHIFTS, np.full((10, 5), start_s, np.float32)) for n in numbers),
        portraits={n: f"{start_s}/{n}".encode() for n in numbers},
        motion={n: [(times, np.ones(10))] for n in numbers},
        stride=1,
        gaps=(Gap(start_s + 1, start_s + 1.5, damaged=True),),
        distances={n: FaceDistance(n, start_s, 1.0, 45) for n in numbers},
    )


def test_faces_of_all_pieces_keep_what_belongs_to_them():
    whole = joined([piece(10, 2), piece(12, 0), piece(14, 1)], -10)
    assert [track.track for track in whole.tracks] == [scores.track for scores in whole.scores] == [0, 1, 2]
    assert [track.start_s for track in whole.tracks] == [0, 0, 4]
    assert [scores.times_s[0] for scores in whole.scores] == [0, 0, 4]
    assert [whole.portraits[n] for n in range(3)] == [b"10/0", b"10/1", b"14/0"]
    assert [whole.motion[n][0][0][0] for n in range(3)] == [0, 0, 4]
    assert [(whole.distances[n].offset, whole.distances[n].distance) for n in range(3)] == [
        (0, 10),
        (1, 10),
        (0, 14),
    ]


def test_stretches_and_gaps_lie_on_the_clock_of_the_window():
    whole = joined([piece(10, 1), piece(12, 1)], -10)
    assert whole.spans == ((0, 2), (2, 4))
    assert [(gap.start_s, gap.end_s) for gap in whole.gaps] == [(1, 1.5), (3, 3.5)]
    assert whole.stride == 1
    assert joined([], 0.0) == Looked()
