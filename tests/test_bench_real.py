"""Whole videos: known shifts are made, checked and compared."""

from fractions import Fraction
from pathlib import Path

import pytest

from avsync import media
from avsync.bench.real import (
    FRAME_RATES,
    Case,
    find_clips,
    outcome,
    plan_cases,
    run_demo_set,
    summarise,
    write_case,
)
from avsync.demo import write_demo
from avsync.errors import MediaError, UsageError
from avsync.records import Report


def test_every_clip_is_shifted_across_the_whole_range_at_every_frame_rate() -> None:
    cases = plan_cases([Path("a.mp4"), Path("b.mp4")], 5)
    assert len(cases) == 10
    for clip in ("a.mp4", "b.mp4"):
        shifts = sorted(c.shift_ms for c in cases if c.clip.name == clip)
        assert all(-400 + 160 * i <= s <= -240 + 160 * i for i, s in enumerate(shifts))
    assert {c.fps for c in cases} == set(FRAME_RATES)
    assert plan_cases([Path("a.mp4")], 5) == plan_cases([Path("a.mp4")], 5)


def test_error_is_measured_minus_known_and_unanswered_files_count_as_such() -> None:
    case = Case(Path("a.mp4"), -200.0, None)
    told = outcome(case, Report("a", "out-of-sync", offset_ms=-230.0, probability=0.9))
    silent = outcome(case, Report("a", "cannot-tell", offset_ms=100.0, probability=0.2))
    assert told.error_ms == -30.0
    row = summarise([told, silent])
    assert row["answered_share"] == 0.5
    assert row["median_error_ms"] == 30.0
    assert row["within_20ms"] == 0.0
    assert row["within_40ms"] == 1.0
    assert row["within_40ms_of_all"] == 0.5
    assert summarise([silent])["median_error_ms"] is None


@pytest.mark.parametrize("shift_ms", [-240.0, 240.0])
def test_the_copy_is_shifted_as_told_and_stored_at_the_rate(shift_ms: float, tmp_path: Path) -> None:
    clip = write_demo(tmp_path / "clip.mp4", duration_s=2.0)
    copy = tmp_path / "copy.mp4"
    write_case(Case(clip, shift_ms, Fraction(30)), copy)
    before, after = media.probe(clip), media.probe(copy)
    assert after.video and after.video.fps == 30
    assert after.audio[0].duration_s and before.audio[0].duration_s
    longer = after.audio[0].duration_s - before.audio[0].duration_s
    assert longer == pytest.approx(-shift_ms / 1000, abs=0.05)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("no video")
    with pytest.raises(UsageError, match="no video"):
        find_clips(tmp_path)
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        write_case(Case(tmp_path / "bad.mp4", 0.0, None), tmp_path / "copy.mp4")


def test_the_bundled_model_finds_the_errors_of_made_clips() -> None:
    told = list(run_demo_set("avsync-1", count=2, seconds=5.0))
    assert [o.case.shift_ms < 0 for o in told] == [True, False]
    assert all(o.answered and o.error_ms is not None and abs(o.error_ms) < 40 for o in told)
