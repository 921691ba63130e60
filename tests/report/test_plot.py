"""Every report can be drawn, into a file of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
from report_factory import a_report, said

from avsync.core.errors import MediaError
from avsync.core.records import Report
from avsync.report.plot import plot_names, save_plot


@pytest.mark.parametrize(
    "report",
    [
        a_report(path="cost $5 [x].mp4"),
        a_report("in-sync", 3.0),
        Report("nobody.mp4", "cannot-tell", reasons=said("no face was found")),
        replace(a_report(), tracks=(), segments=()),
    ],
)
def test_every_report_can_be_drawn(report: Report, tmp_path: Path):
    target = save_plot(report, tmp_path / "new" / "plot.png")
    assert target.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in target.parent.iterdir()] == ["plot.png"]


def test_a_plot_that_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "taken").write_text("a file where a folder is wanted")
    with pytest.raises(MediaError, match="Cannot write the plot"):
        save_plot(a_report(), tmp_path / "taken" / "plot.png")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_plots_of_equally_named_videos_do_not_overwrite_each_other():
    names = plot_names([Path("a/x.mp4"), Path("b/x.mp4"), Path("X.mp4")], Path("out"))
    assert len({name.name.lower() for name in names}) == 3
