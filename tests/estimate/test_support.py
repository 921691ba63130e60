"""Each stretch of visible speech supports the offset of the file, contradicts it, or leaves it open."""

import numpy as np
import pytest
from scores_factory import made

from avsync.core.records import Scores
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import pooled
from avsync.estimate.speakers import cells, weigh
from avsync.estimate.support import (
    FAULT_TALK_S,
    MIN_TALK_S,
    Contradiction,
    _Answer,
    _joined,
    apart,
    contradictions,
)

SHARP = Calibration(temperature=0.6, mismatch_level=0.0)


def found(*tracks: Scores, talks: bool = True, calibration: Calibration = SHARP) -> tuple[Contradiction, ...]:
    parts = cells(tracks, calibration)
    talking = [np.full(len(track.times_s), talks) for track in tracks]
    answer = pooled(tracks, weigh(tracks, parts), calibration)
    return contradictions(tracks, parts, talking, answer, calibration, 0.04)


def test_speech_at_the_offset_of_the_file_supports_it():
    assert found(made(500), made(60, seed=1, start_s=20.0), made(60, seed=2, start_s=25.0)) == ()


def test_a_short_scene_with_another_offset_does_not_support_it():
    (stretch,) = found(made(500), made(60, 4.0, seed=1, start_s=20.0))
    assert (stretch.start_s, stretch.end_s) == pytest.approx((20.0, 22.5), abs=0.2)


def test_a_scene_of_another_voice_is_a_sure_contradiction_as_long_as_its_shot():
    (stretch,) = found(made(500), made(200, height=0, seed=1, start_s=20.0))
    assert stretch.sure
    assert (stretch.start_s, stretch.end_s) == pytest.approx((20.0, 28.0), abs=0.2)
    assert stretch.talk_s == pytest.approx(8.0)


@pytest.mark.parametrize(("first", "past"), [(100, 200), (137, 237), (170, 320)])
def test_a_dub_in_the_midst_of_a_shot_is_found_where_it_is(first: int, past: int):
    """What is in sync before and after it neither excuses it nor makes up for it."""
    speaker = made(450, height=4.0, silent=0.0)
    speaker.logits[first:past] = made(past - first, height=0, seed=1).logits
    (stretch,) = found(speaker)
    assert stretch.sure
    assert (stretch.start_s, stretch.end_s) == pytest.approx((first / 25, past / 25), abs=1.5)


def test_a_face_that_says_too_little_does_not_cut_a_mismatch_in_two():
    def said(index: int, start_s: float, end_s: float, *, against: bool) -> _Answer:
        return _Answer(index, start_s, end_s, end_s - start_s - 0.6, False, against, -9.0 if against else 0.0)

    joined = _joined(
        [
            said(0, 0.0, 3.5, against=True),
            said(1, 3.0, 5.0, against=False),
            said(0, 3.5, 7.0, against=True),
        ]
    )
    assert [(one.start_s, one.end_s, one.sure) for one in joined] == [(0.0, 7.0, True), (3.0, 5.0, False)]


def test_lips_that_are_badly_read_but_fit_the_offset_best_are_not_a_fault():
    """Of many windows that fit nothing, a few fit the offset of the file."""
    badly = made(200, height=0, seed=1, start_s=20.0)
    badly.logits[:, 15] += 1.0
    assert not any(stretch.sure for stretch in found(made(500), badly))


def test_a_lead_by_chance_does_not_make_a_dub_badly_read_lips():
    """Its best offset happens to be that of the file, but it contradicts that far too clearly."""
    dub = made(200, height=0, seed=1, start_s=20.0)
    dub.logits[:] *= 4.0
    dub.logits[:, 15] += 4.0
    assert [stretch.sure for stretch in found(made(500), dub)] == [True]


def test_lips_that_are_badly_read_but_fit_another_offset_best_are_off_and_not_foreign():
    clear, badly = made(500), made(200, height=0, seed=1, start_s=20.0)
    badly.logits[:, 22] += 1.4
    tracks, talking = (clear, badly), [np.ones(500, bool), np.ones(200, bool)]
    parts = cells(tracks, SHARP)
    alone = pooled([clear], weigh([clear], cells([clear], SHARP)), SHARP)
    against = contradictions(tracks, parts, talking, alone, SHARP, 0.04)
    masks = apart(tracks, talking, against, SHARP, 0.04)
    assert [mask.mean() for mask in masks] == [0, 1]
    weights = [np.where(mask, 1.0, 0.05) for mask in masks]
    weights[0][:] = 1.0
    (fault,) = (segment for segment in pooled(tracks, weights, SHARP).segments if segment.fault)
    assert (fault.start_s, fault.end_s) == pytest.approx((20.0, 28.0), abs=0.3)
    assert fault.offset_ms == pytest.approx(-280, abs=20)


@pytest.mark.parametrize("seed", range(1, 9))
def test_speech_of_someone_else_has_no_offset_of_its_own(seed: int):
    tracks = (made(500), made(200, height=0, seed=seed, start_s=20.0))
    (stretch,) = found(*tracks)
    assert stretch.sure
    masks = apart(tracks, [np.ones(500, bool), np.ones(200, bool)], [stretch], SHARP, 0.04)
    assert not any(mask.any() for mask in masks)


def test_less_than_a_fault_needs_is_open_and_still_less_says_nothing():
    (stretch,) = found(made(500), made(round(25 * FAULT_TALK_S) - 15, height=0, seed=1, start_s=20.0))
    assert not stretch.sure
    assert found(made(500), made(round(25 * MIN_TALK_S) - 5, height=0, seed=1, start_s=20.0)) == ()


def test_where_the_file_has_no_sure_offset_lips_have_to_fit_nowhere():
    (stretch,) = found(made(750, height=0))
    assert stretch.sure
    assert (stretch.start_s, stretch.end_s) == pytest.approx((0, 30), abs=0.3)


def test_a_silent_mouth_or_a_listener_beside_the_speaker_contradicts_nothing():
    assert found(made(750, height=0), talks=False) == ()
    assert found(made(750, height=0), made(750, seed=1)) == ()


def test_a_listener_counts_only_where_nobody_else_in_view_speaks():
    """The speaker is badly read for four seconds of twelve, in which a listener moves the mouth."""
    speaker = made(300)
    speaker.logits[100:200] = made(100, height=0, seed=3).logits
    speaker.logits[100:200, 15] += 0.35
    assert not any(stretch.sure for stretch in found(speaker, made(300, height=0, seed=1)))


def test_a_dub_beside_a_cell_that_another_face_explains_ends_where_that_begins():
    speaker, other = made(200, start_s=8.0), made(400, height=0, seed=1)
    (stretch,) = found(made(500, seed=4, start_s=40.0), speaker, other)
    assert stretch.sure
    assert (stretch.start_s, stretch.end_s) == pytest.approx((0.0, 8.0), abs=0.3)


def test_without_a_calibrated_level_nothing_contradicts():
    assert found(made(750, height=0), calibration=Calibration(temperature=0.6)) == ()
