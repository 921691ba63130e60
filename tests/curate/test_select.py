"""Which stretches of a checked video are kept, and why the others are not."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsync.core.report import Reason, Report, Segment, TrackReport, Turn
from avsync.curate.criteria import Criteria
from avsync.curate.select import select

HEIGHT = 400
WANTED = Criteria(min_length_s=1.0, max_length_s=20.0)


def track(number: int = 0, height: float = 0.25, end_s: float = 60.0) -> TrackReport:
    boxes = tuple((float(t), 0.4, 0.4, 0.6, 0.4 + height) for t in range(int(end_s)))
    return TrackReport(number, 0.0, end_s, 100, None, boxes=boxes)


def report(*turns: Turn, offset_ms: float | None = 80.0, segments: tuple[Segment, ...] = ()) -> Report:
    return Report(
        "talk.mp4",
        "out-of-sync",
        offset_ms,
        10.0,
        0.97,
        tracks=(track(0), track(1)),
        segments=segments or (Segment(0.0, 60.0, offset_ms, 10.0, 0.97),),
        turns=turns,
        duration_s=60.0,
    )


def turn(start_s: float, end_s: float, track: int | None = 0, probability: float = 0.95) -> Turn:
    return Turn(start_s, end_s, track, 80.0, probability)


def whys(found: Report, criteria: Criteria = WANTED) -> list[str]:
    return [part.why for part in select(found, HEIGHT, criteria).dropped]


def test_what_one_face_says_is_kept_with_its_offset():
    (kept,) = select(report(turn(2, 6)), HEIGHT, WANTED).kept
    assert (kept.track, kept.offset_ms) == (0, 80.0)
    assert (kept.start_s, kept.end_s) == pytest.approx((2.08, 6.08))  # where the lips say it
    assert kept.face_px == pytest.approx(100)
    assert kept.speech_share == 1.0


def test_short_pauses_of_one_speaker_join_and_another_speaker_parts():
    turns = turn(0, 3), turn(3.5, 6), turn(6, 9, track=1), turn(9, 12)
    found = select(report(*turns, offset_ms=0.0), HEIGHT, WANTED)
    assert [(s.start_s, s.end_s, s.track) for s in found.kept] == [(0, 6, 0), (6, 9, 1), (9, 12, 0)]
    assert found.kept[0].speech_share == pytest.approx(5.5 / 6)


def test_long_speech_is_cut_into_equal_parts():
    kept = select(report(turn(0, 50)), HEIGHT, WANTED).kept
    assert [s.end_s - s.start_s for s in kept] == [pytest.approx(50 / 3)] * 3


def test_a_jump_of_the_offset_parts_a_stretch_and_each_part_has_its_own():
    segments = (Segment(0, 4, 80.0, 9.0, 0.97), Segment(4, 60, -120.0, 9.0, 0.97, fault=True))
    kept = select(report(turn(0, 10), segments=segments), HEIGHT, WANTED).kept
    assert [s.offset_ms for s in kept] == [80.0, -120.0]
    assert [s.start_s for s in kept] == pytest.approx([0.08, 3.88])
    assert [s.end_s for s in kept] == pytest.approx([4.08, 9.88])


def test_a_stretch_ends_with_the_face_however_far_its_lips_are_from_the_speech():
    late = replace(report(turn(0, 6), offset_ms=-400.0), tracks=(replace(track(0), end_s=5.0),))
    (kept,) = select(late, HEIGHT, WANTED).kept
    assert (kept.start_s, kept.end_s) == (0.0, 5.0)


@pytest.mark.parametrize(
    ("why", "changed", "criteria"),
    [
        ("nobody-visible", report(turn(2, 6, track=None)), WANTED),
        ("not-sure", report(turn(2, 6, probability=0.6)), WANTED),
        ("not-sure", report(turn(2, 6), segments=(Segment(0, 60, 80.0, 9.0, 0.6),)), WANTED),
        ("too-short", report(turn(2, 2.5)), WANTED),
        ("too-small", report(turn(2, 6)), Criteria(min_face_px=150)),
        ("little-speech", report(turn(2, 4), turn(4.9, 5), turn(5.9, 6.0)), Criteria(min_speech=0.8)),
        ("not-judged", report(turn(2, 6), segments=(Segment(30, 60, 80.0, 9.0, 0.97),)), WANTED),
        ("not-judged", report(turn(2, 6), segments=(Segment(0, 60, None, None, 0.0),)), WANTED),
        ("drift", replace(report(turn(2, 6)), drift_ms_per_min=90.0), WANTED),
        ("mismatch", replace(report(turn(2, 6)), verdict="mismatch"), WANTED),
        ("not-sure", replace(report(turn(2, 6)), verdict="cannot-tell"), WANTED),
        ("error", Report("x.mp4", "error", reasons=(Reason("error", {"message": "x"}),)), WANTED),
    ],
)
def test_what_is_not_kept_has_a_reason(why: str, changed: Report, criteria: Criteria):
    assert select(changed, HEIGHT, criteria).kept == ()
    assert whys(changed, criteria) == [why]


spans = st.tuples(st.floats(0, 59), st.floats(0.05, 20), st.sampled_from([0, 1, None]), st.floats(0, 1))


@given(st.lists(spans, max_size=8), st.floats(1, 20))
def test_every_second_of_speech_is_kept_or_dropped_once(found: list, longest: float):
    turns, at = [], 0.0
    for pause, length, who, probability in found:
        start = at + pause % 3
        turns.append(turn(start, start + length, who, probability))
        at = start + length
    selection = select(
        replace(
            report(*turns, segments=(Segment(0, 1000, 0.0, 9.0, 0.97),)),
            tracks=(track(0, end_s=1000.0), track(1, end_s=1000.0)),
        ),
        HEIGHT,
        Criteria(max_length_s=longest),
    )
    parts = sorted([*selection.kept, *selection.dropped], key=lambda part: part.start_s)
    assert all(before.end_s <= after.start_s + 1e-6 for before, after in pairwise(parts))
    covered = sum(part.end_s - part.start_s for part in parts)
    spoken = sum(t.end_s - t.start_s for t in turns)
    assert spoken - 0.05 * len(turns) <= covered + 1e-6
    assert all(s.end_s - s.start_s <= longest + 1e-6 and s.probability >= 0.75 for s in selection.kept)
