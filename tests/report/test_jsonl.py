"""The JSONL file of a batch: whole lines at any time, and what a later run may skip."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_factory import said

from avsync.core.errors import AvsyncError, OutputError, UsageError
from avsync.core.options import CheckOptions, plain
from avsync.core.report import Report, Segment
from avsync.report.document import to_line
from avsync.report.jsonl import opened_ledger, stamp

OPTIONS = CheckOptions()
LATE = Report("", "out-of-sync", -120.0, 9.0, 0.9, segments=(Segment(0.0, 4.0, -120.0, 9.0, 0.9),))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"\0\0\0\x18ftyp")
    return path


def write(ledger: Path, *reports: Report, options: CheckOptions = OPTIONS) -> None:
    with opened_ledger(ledger, {}) as (_, add):
        for report in reports:
            add(report.path, to_line(report, stamp(Path(report.path), options)))


def held(ledger: Path, *files: Path, options: CheckOptions = OPTIONS) -> dict[str, Report]:
    stamps = {str(file): stamp(file, options) for file in files}
    with opened_ledger(ledger, stamps, resumed=True) as (reports, _):
        return reports


# --- writing ------------------------------------------------------------------------------


def test_lines_are_there_as_soon_as_they_are_added(tmp_path: Path):
    target = tmp_path / "out.jsonl"
    with opened_ledger(target, {}) as (_, add):
        add(LATE.path, to_line(LATE))
        assert json.loads(target.read_text())["verdict"] == "out-of-sync"


def test_an_older_result_is_replaced_unless_it_is_resumed(tmp_path: Path):
    target = tmp_path / "out.jsonl"
    target.write_text(to_line(LATE))
    with opened_ledger(target, {}, resumed=True):
        assert target.stat().st_size > 0
    with opened_ledger(target, {}):
        assert target.stat().st_size == 0


@pytest.mark.parametrize(
    "content",
    ['{"name": "app", "version": "1.0.0"}', '{\n  "schema": 1\n}', "[1, 2]", "\0\0\0\x18ftyp", "{", "notes"],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_what_is_not_a_ledger_is_not_overwritten(tmp_path: Path, content: str, resumed: bool):
    target = tmp_path / "package.json"
    target.write_text(content)
    if content == "{":  # all that a crash left of a first line
        with opened_ledger(target, {}, resumed=resumed):
            return
    with (
        pytest.raises(UsageError, match="not a JSONL file written by avsync"),
        opened_ledger(target, {}, resumed=resumed),
    ):
        pass
    assert target.read_text() == content


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "none").touch()
    target = tmp_path / "none" / "out.jsonl"
    with pytest.raises(OutputError, match="Not a directory"), opened_ledger(target, {}):
        pass


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_a_second_run_is_turned_away_and_no_row_is_lost(tmp_path: Path, first: bool, second: bool):
    """In all orders of --resume; the lock must outlive that a resumed run writes a new file."""
    target = tmp_path / "out.jsonl"
    target.write_text(to_line(LATE))
    with opened_ledger(target, {}, resumed=first) as (_, add):
        with (
            pytest.raises(UsageError, match="Another run of avsync is writing"),
            opened_ledger(target, {}, resumed=second),
        ):
            pass
        add("b.mp4", to_line(replace(LATE, path="b.mp4")))
    assert len(target.read_text().splitlines()) == (2 if first else 1)
    with opened_ledger(target, {}, resumed=True):
        pass


def test_rights_and_umask_are_honoured(tmp_path: Path):
    target = tmp_path / "out.jsonl"
    before = os.umask(0o027)
    try:
        with opened_ledger(target, {}):
            pass
        assert target.stat().st_mode & 0o777 == 0o640
        target.chmod(0o664)
        with opened_ledger(target, {}, resumed=True):
            pass
        assert target.stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


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


def test_the_line_of_an_error_stays_until_there_is_another(tmp_path: Path, video: Path):
    ledger = tmp_path / "out.jsonl"
    error = Report(str(video), "error", reasons=said("There is not enough memory."), settings=plain(OPTIONS))
    write(ledger, Report("other.mp4", "in-sync"), error)
    before = ledger.read_text()
    assert held(ledger, video) == {}  # as after Ctrl-C: nothing was written
    assert ledger.read_text() == before
    stamps = {str(video): stamp(video, OPTIONS)}
    with opened_ledger(ledger, stamps, resumed=True) as (_, add):
        add("other2.mp4", to_line(Report("other2.mp4", "in-sync")))
        add(str(video), to_line(replace(LATE, path=str(video)), stamps[str(video)]))
        # As after kill -9: no line is lost, and none there twice.
        rows = [json.loads(line) for line in ledger.read_text().splitlines()]
        assert {row["path"]: row["verdict"] for row in rows} == {
            "other.mp4": "in-sync",
            "other2.mp4": "in-sync",
            str(video): "out-of-sync",
        }
        assert [row["path"] for row in rows].count(str(video)) == 1
        with pytest.raises(UsageError, match="Another run"), opened_ledger(ledger, {}, resumed=True):
            pass
        add("last.mp4", to_line(Report("last.mp4", "in-sync")))
    assert json.loads(ledger.read_text().splitlines()[-1])["path"] == "last.mp4"
    assert [path.name for path in tmp_path.iterdir()].count("out.jsonl") == 1
    assert not list(tmp_path.glob(".*"))


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
    broken = ledger.read_text() + "{\n" + ledger.read_text()
    ledger.write_text(broken)
    with pytest.raises(UsageError, match="Line 2 of"):
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


@pytest.mark.parametrize(
    "change",
    [{"offset_ms": "late"}, {"tracks": 5}, {"schema": 99}, {"segments": [[]]}, {"probability": 7e400}],
)
def test_a_line_that_someone_changed_is_done_again(tmp_path: Path, video: Path, change: dict[str, object]):
    ledger = tmp_path / "out.jsonl"
    write(ledger, replace(LATE, path=str(video)))
    ledger.write_text(json.dumps(json.loads(ledger.read_text()) | change) + "\n")
    assert held(ledger, video) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.fuzz
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from([*json.loads(to_line(LATE)), "size_bytes"]), JSON, max_size=4),
    st.binary(),
)
def test_whatever_a_ledger_holds_it_is_read_or_refused(
    tmp_path: Path, changed: dict[str, object], cut: bytes
):
    ledger = tmp_path / "out.jsonl"
    document = {
        **json.loads(to_line(replace(LATE, path="a.mp4"))),
        **stamp(Path("a.mp4"), OPTIONS),
        **changed,
    }
    ledger.write_bytes(json.dumps(document).encode() + b"\n" + cut)
    try:
        for report in held(ledger, Path("a.mp4")).values():
            to_line(report)
    except AvsyncError:
        pass


def test_a_line_of_a_million_brackets_is_not_a_result(tmp_path: Path):
    ledger = tmp_path / "out.jsonl"
    ledger.write_text(to_line(LATE) + "[" * 1_000_000 + "\n" + to_line(LATE))
    with pytest.raises(UsageError, match="Line 2"):
        held(ledger)
