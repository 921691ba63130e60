"""Where results go: one path for each file where they cannot share one, and a table of all."""

import csv
import io
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from report_factory import FAULT, a_report, said

from avsync.batch.inputs import find_media
from avsync.core.errors import OutputError, UsageError
from avsync.core.options import CheckOptions
from avsync.core.report import Report
from avsync.core.timecode import Timebase, timebase
from avsync.report.outputs import Targets, named_after, opened
from avsync.report.table import COLUMNS, to_csv

CODED = timebase(Fraction(25), 0.0, "10:00:00:00")


def write(targets: Targets, reports: list[Report]) -> None:
    """What `check` does with the reports of several files."""
    files = [Path(report.path) for report in reports]
    with opened(targets, files, CheckOptions(), write=print, batch=True) as (_, take):
        for number, report in enumerate(reports):
            take(number, report, None)


def coded(path: str, base: Timebase | None = CODED) -> Report:
    return replace(a_report(path=path), faults=(FAULT,), timebase=base)


def test_equally_named_files_have_paths_of_their_own():
    names = named_after([Path("a/x.mp4"), Path("b/x.mp4"), Path("X.mp4")], Path("out/{name}.edl"))
    assert names[0] == Path("out/x.mp4.edl")
    assert len({str(name).lower() for name in names}) == 3


def test_a_path_with_a_name_in_it_serves_every_file(tmp_path: Path):
    write(Targets(markers=tmp_path / "marks" / "{name}.edl"), [coded("a.mov"), coded("b.mov")])
    assert sorted(path.name for path in (tmp_path / "marks").iterdir()) == ["a.mov.edl", "b.mov.edl"]
    assert "FROM CLIP NAME: b.mov" in (tmp_path / "marks" / "b.mov.edl").read_text()


def test_a_path_for_one_file_is_refused_for_several_and_says_what_would_do(tmp_path: Path):
    with pytest.raises(UsageError, match=r"as in .*\{name\}\.edl"):
        write(Targets(markers=tmp_path / "all.edl"), [coded("a.mov"), coded("b.mov")])


def test_a_result_that_cannot_be_written_costs_no_other(tmp_path: Path):
    targets = Targets(markers=tmp_path / "{name}.csv", table=tmp_path / "all.csv")
    with pytest.raises(OutputError, match="no video whose frames"):
        write(targets, [coded("a.mov", base=None), coded("b.mov")])
    assert (tmp_path / "b.mov.csv").exists()
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("bad", ["plots/a.mov.png", "all.xml", "all.csv", "all.html"])
def test_whichever_result_cannot_be_written_costs_no_other(tmp_path: Path, bad: str):
    """A folder comes into its place while files are checked."""
    targets = Targets(
        plot=tmp_path / "plots",
        junit=tmp_path / "all.xml",
        table=tmp_path / "all.csv",
        page=tmp_path / "all.html",
    )
    files = [Path("a.mov"), Path("b.mov")]
    with (
        pytest.raises(OutputError, match=re.escape(bad)),
        opened(targets, files, CheckOptions(), write=print, batch=True) as (_, take),
    ):
        (tmp_path / bad / "x").mkdir(parents=True)
        for number, file in enumerate(files):
            take(number, coded(str(file)), None)
    wanted = {"plots/a.mov.png", "plots/b.mov.png", "all.xml", "all.csv", "all.html"}
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*") if file.is_file()} == wanted - {
        bad
    }


def test_a_resumed_file_has_its_markers_without_a_new_look(tmp_path: Path):
    (tmp_path / "a.mov").write_bytes(b"a video, as far as its stamp goes")
    film, ledger = tmp_path / "a.mov", tmp_path / "all.jsonl"
    write(Targets(jsonl=ledger), [coded(str(film))])
    again = Targets(jsonl=ledger, resume=True, markers=tmp_path / "{name}.csv", table=tmp_path / "all.csv")
    with opened(again, [film], CheckOptions(), write=print, batch=True) as (held, _):
        assert list(held) == [0]
    assert "200 ms late" in (tmp_path / "a.mov.csv").read_text()
    assert "out-of-sync" in (tmp_path / "all.csv").read_text()


# --- the table ----------------------------------------------------------------------------


def rows(*reports: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(reports).decode("utf-8-sig"))))


def test_a_row_says_what_the_report_says():
    (row,) = rows(replace(coded("films/a.mov"), offset_ms=-83.24, probability=0.981, duration_s=70.0))
    assert row["path"] == "films/a.mov"
    assert (row["verdict"], row["offset_ms"], row["probability"]) == ("out-of-sync", "-83.2", "0.981")
    assert (row["faults"], row["worst_fault_at"], row["worst_fault_ms"]) == ("1", "0:20.0", "-200.0")


def test_what_is_not_known_is_an_empty_cell():
    (row,) = rows(Report("a.mov", "error", reasons=said("it is no video")))
    assert [name for name in COLUMNS if row[name]] == ["path", "verdict", "faults", "summary"]


@pytest.mark.parametrize(
    "name", ["a\nb.mp4", "a\r\nb.mp4", "a\x1b[31m.mp4", "a\tb,c.mp4", '"', "\udce9.mp4", "#1.mp4"]
)
def test_the_table_has_the_exact_name_of_each_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"")
    Path("all.csv").write_bytes(to_csv([a_report(path=name)]))
    assert find_media([Path("all.csv")]) == [Path(name)]


@pytest.mark.parametrize("name", ["=cmd().mp4", "+1.mp4", "-rf.mp4", "@x.mp4"])
def test_no_file_name_is_a_formula_and_the_table_is_still_a_list_of_videos(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"")
    Path("all.csv").write_bytes(to_csv([a_report(path=name)]))
    assert rows(a_report(path=name))[0]["path"][0] == "."
    assert [path.resolve() for path in find_media([Path("all.csv")])] == [Path(name).resolve()]
