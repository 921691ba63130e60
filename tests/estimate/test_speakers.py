"""Who speaks when: every face is weighed by what it says of its own time."""

from dataclasses import replace

import numpy as np
import pytest
from scores_factory import made

from avsync.core.records import Scores
from avsync.estimate.calibration import Calibration
from avsync.estimate.speakers import COUNTED, Foreign, cells, foreign, turns, weigh

SHARP = Calibration(temperature=0.6, mismatch_level=0.0)


def weights(*tracks: Scores) -> list[np.ndarray]:
    return weigh(tracks, cells(tracks, SHARP))


def found(*tracks: Scores, talks: bool = True, calibration: Calibration = SHARP) -> tuple[Foreign, ...]:
    parts = cells(tracks, calibration)
    talking = [np.full(len(track.times_s), talks) for track in tracks]
    return foreign(tracks, parts, talking, calibration, 0.04)


def test_a_speaker_counts_whatever_the_evidence_of_another_shot():
    clear, plain = made(250, height=8.0), made(250, 5.0, height=3.0, seed=1, start_s=10.0)
    assert all(w.max() >= COUNTED for w in weights(clear, plain))


def test_of_two_faces_seen_at_once_the_one_that_explains_the_speech_counts():
    speaker, listener = weights(made(250), made(250, height=0, seed=1))
    assert speaker.mean() >= COUNTED > listener.max()


def test_two_people_in_one_shot_take_turns():
    first, second = made(500), made(500, seed=1)
    first.logits[250:] = made(250, height=0, seed=2).logits
    second.logits[:250] = made(250, height=0, seed=3).logits
    a, b = weights(first, second)
    assert a[:200].mean() > COUNTED > a[300:].mean()
    assert b[300:].mean() > COUNTED > b[:200].mean()


def test_neighbouring_shots_that_touch_do_not_compete():
    _, b = weights(made(250, height=8.0), made(250, height=3.0, seed=1, start_s=9.9))
    assert b.max() >= COUNTED


def test_lips_that_fit_the_speech_nowhere_are_foreign():
    (stretch,) = found(made(750, height=0), made(250, start_s=40.0, seed=1))
    assert (stretch.start_s, stretch.end_s) == pytest.approx((0, 30), abs=0.3)
    assert stretch.sure
    assert found(made(750)) == ()


def test_a_silent_mouth_or_a_listener_beside_the_speaker_is_not_foreign():
    assert found(made(750, height=0), talks=False) == ()
    assert found(made(750, height=0), made(750, seed=1)) == ()


def test_a_few_seconds_are_a_doubt_and_less_says_nothing():
    (stretch,) = found(made(90, height=0, seed=4))
    assert not stretch.sure
    assert found(made(50, height=0, seed=4)) == ()


def test_without_a_calibrated_level_nothing_is_foreign():
    assert found(made(750, height=0), calibration=Calibration(temperature=0.6)) == ()


# --- Turns ------------------------------------------------------------------------------------


def test_every_stretch_of_speech_has_the_face_that_says_it():
    first = made(250, height=6.0)
    second = replace(made(250, 2.0, height=6.0, seed=1, start_s=10.0), track=1)
    tracks = [first, second]
    said = turns(tracks, cells(tracks, SHARP), [(2.0, 18.0), (25.0, 27.0)])
    assert [(turn.track, turn.start_s, turn.end_s) for turn in said] == [
        (0, 2.0, pytest.approx(10.2, abs=0.3)),
        (1, pytest.approx(10.2, abs=0.3), 18.0),
        (None, 25.0, 27.0),
    ]
    assert [turn.offset_ms for turn in said[:2]] == pytest.approx([0, -80], abs=20)
    assert said[0].probability > 0.5 > said[2].probability
