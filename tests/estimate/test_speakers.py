"""Who speaks when: every face is weighed by the evidence of its own time."""

from dataclasses import replace

import numpy as np
import pytest
from scores_factory import made

from avsync.core.constants import FRAME_MS
from avsync.core.records import Scores
from avsync.core.report import Turn
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import pooled
from avsync.estimate.speakers import COUNTED, cells, heard, judged_near, speaking, turns, weigh

SHARP = Calibration(temperature=0.6, mismatch_level=0.0)


def weights(*tracks: Scores) -> list[np.ndarray]:
    return weigh(tracks, cells(tracks, SHARP))


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


def test_a_face_at_the_offset_of_the_file_need_not_establish_it_again():
    weak = made(60, height=1.2, seed=3, start_s=12.0)
    tracks = [made(250), weak]
    parts = cells(tracks, SHARP)
    answer = pooled(tracks, weigh(tracks, parts), SHARP)
    before, after = speaking(parts), speaking(parts, answer, SHARP)
    assert after[-1] > before[-1]


def test_the_face_of_a_shot_in_which_the_offset_jumps_counts_all_along():
    jumps = made(300, np.where(np.arange(300) < 140, 0.0, 6.0), height=4.0)
    tracks = [jumps, made(250, 6.0, seed=1, start_s=12.0)]
    parts = cells(tracks, SHARP)
    answer = pooled(tracks, weigh(tracks, parts), SHARP)
    assert weigh(tracks, parts, answer, SHARP)[0].min() >= COUNTED


def test_a_weak_shot_beside_a_fault_is_asked_about_its_offset_too():
    """Which alone it would hardly find among all."""
    weak = made(60, 6.0, height=1.6, seed=4, start_s=60.0)
    tracks = [made(1000), made(500, 6.0, seed=1, start_s=40.0), weak, made(1000, seed=2, start_s=62.4)]
    parts = cells(tracks, SHARP)
    answer = pooled(tracks, weigh(tracks, parts), SHARP)
    expected = judged_near(answer, parts)
    assert expected is not None
    (here,) = (pairs for cell, pairs in zip(parts, expected, strict=True) if cell.index == 2)
    assert {round(ms / FRAME_MS) for pair in here for ms in pair} == {0, -6}
    place = [cell.index for cell in parts].index(2)
    assert speaking(parts, answer, SHARP)[place] >= COUNTED > speaking(parts)[place]


def test_a_mouth_that_moves_while_speech_is_heard_rather_speaks():
    tracks = [made(250), made(60, height=1.2, seed=3, start_s=12.0)]
    parts = cells(tracks, SHARP)
    still, moves = (
        speaking(parts, talking=[np.full(len(track.times_s), talks) for track in tracks])
        for talks in (False, True)
    )
    assert moves[-1] > still[-1]
    assert still == pytest.approx(speaking(parts))


def test_a_listener_at_an_offset_of_its_own_does_not_make_that_the_offset_of_its_moment():
    """The one who speaks has that of the file, less clearly."""
    speaker, listener = made(45, height=5.0, seed=4, start_s=20.0), made(45, height=0, seed=3, start_s=20.0)
    listener.logits[:, 22] += 2.2
    tracks = [made(500), speaker, listener, made(500, seed=2, start_s=22.0)]
    talking = [np.ones(len(track.times_s), bool) for track in tracks]
    parts = cells(tracks, SHARP)
    place = {cell.index: i for i, cell in enumerate(parts)}
    first = speaking(parts, talking=talking)
    assert first[place[2]] > COUNTED > first[place[1]]
    answer = pooled(tracks, weigh(tracks, parts, talking=talking), SHARP)
    shares = speaking(parts, answer, SHARP, talking)
    assert shares[place[1]] > COUNTED > shares[place[2]]
    weights = weigh(tracks, parts, answer, SHARP, talking)
    assert not any(segment.fault for segment in pooled(tracks, weights, SHARP).segments)


def test_a_track_of_one_moment_is_not_surer_for_being_a_track():
    short, long = made(60, height=1.2, seed=3), made(300, height=1.2, seed=3, start_s=20.0)
    parts = cells([short, long], SHARP)
    shares = speaking(parts)
    alone = shares[[cell.index for cell in parts].index(0)]
    assert alone < np.mean([share for cell, share in zip(parts, shares, strict=True) if cell.index == 1])


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


def test_everyone_who_speaks_for_a_second_or_more_is_heard():
    said = [Turn(0, 4, 0, 0.0, 0.9), Turn(4, 4.6, 1, 0.0, 0.9), Turn(5, 9, None, None, 0.0)]
    assert heard(said) == {0}
    assert heard([*said, Turn(9, 9.6, 1, 0.0, 0.9)]) == {0, 1}
