"""The JSONL file of a batch: whole lines at any time, and what a later run may skip."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from report_factory import said

from avsync.core.errors import MediaError, UsageError
from avsync.core.options import CheckOptions, plain
from avsync.core.records import Report, Segment
from avsync.report.document import to_line
from avsync.report.jsonl import jsonl_file, resume, stamp

OPTIONS = CheckOptions()
LATE = Report("", "out-of-sync", -120.0, 9.0, 0.9, segments=(Segment(0.0, 4.0, -120.0, 9.0, 0.9),))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"\0\0\0\x18ftyp")
    return path


def write(ledger: Path, *reports: Report, options: CheckOptions = OPTIONS) -> None:
    with jsonl_file(ledger) as stream:
        for report in reports:
            stream.write(to_line(report, stamp(Path(report.path), options)))


def held(ledger: Path, *files: Path, options: CheckOptions = OPTIONS) -> dict[str, Report]:
    return resume(ledger, {str(file): stamp(file, options) for file in files})


# --- writing ------------------------------------------------------------------------------


def test_lines_are_there_as_soon_as_they_are_flushed(tmp_path: Path):
    target = tmp_path / "out.jsonl"
    with jsonl_file(target) as stream:
        stream.write(to_line(LATE))
        stream.flush()
        assert json.loads(target.read_text())["verdict"] == "out-of-sync"


def test_an_older_result_is_replaced_unless_it_is_resumed(tmp_path: Path):
    target = tmp_path / "out.jsonl"
    target.write_text(to_line(LATE))
    with jsonl_file(target, resumed=True):
        assert target.stat().st_size > 0
    with jsonl_file(target):
        assert target.stat().st_size == 0


def test_what_is_no_jsonl_is_not_overwritten(video: Path):
    before = video.read_bytes()
    with pytest.raises(UsageError, match="no JSONL"), jsonl_file(video):
        pass
    with pytest.raises(UsageError, match="no JSONL"):
        held(video)
    assert video.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "none").touch()
    with pytest.raises(MediaError, match="Not a directory"), jsonl_file(tmp_path / "none" / "out.jsonl"):
        pass


# --- going on -----------------------------------------------------------------------------


def test_a_file_that_has_not_changed_is_held(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    report = replace(LATE, path=str(video), settings=plain(OPTIONS))
    write(ledger, report)
    assert held(ledger, video) == {str(video): report}
    assert held(tmp_path / "none.jsonl", video) == {}


def test_a_changed_video_or_option_is_done_again(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    write(ledger, replace(LATE, path=str(video)))
    assert held(ledger, video, options=replace(OPTIONS, max_offset_ms=2000.0)) == {}
    assert ledger.read_text() == ""  # one line for each file at any time

    write(ledger, replace(LATE, path=str(video)))
    os.utime(video, (1, 1))
    assert held(ledger, video) == {}

    write(ledger, replace(LATE, path=str(video)))
    video.write_bytes(b"longer than before")
    os.utime(video, (1, 1))
    assert held(ledger, video) == {}


def test_errors_are_tried_again(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    write(ledger, Report(str(video), "error", reasons=said("There is not enough memory.")))
    assert held(ledger, video) == {}


def test_a_file_that_is_gone_is_done_again(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    write(ledger, replace(LATE, path=str(video)))
    video.unlink()
    assert held(ledger, video) == {}


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    write(ledger, replace(LATE, path=str(video)))
    whole = ledger.read_text()
    for cut in (whole[:40], "{", "\0\0\0"):
        ledger.write_text(whole + cut)
        assert list(held(ledger, video)) == [str(video)]
        assert ledger.read_text() == whole
    ledger.write_text(whole.rstrip("\n"))
    assert list(held(ledger, video)) == [str(video)]
    assert ledger.read_text() == whole


def test_a_damaged_line_before_the_last_is_named(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    write(ledger, replace(LATE, path=str(video)))
    broken = "{\n" + ledger.read_text()
    ledger.write_text(broken)
    with pytest.raises(UsageError, match="Line 1 of"):
        held(ledger, video)
    assert ledger.read_text() == broken


def test_lines_about_other_files_stay(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    write(ledger, Report("other.mp4", "in-sync"), replace(LATE, path=str(video)))
    before = ledger.read_text()
    assert list(held(ledger, video)) == [str(video)]
    assert ledger.read_text() == before


def test_the_last_of_several_lines_counts(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    write(ledger, Report(str(video), "error"), replace(LATE, path=str(video)))
    assert held(ledger, video)[str(video)].verdict == "out-of-sync"
    assert len(ledger.read_text().splitlines()) == 1
