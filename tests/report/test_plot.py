"""Every report can be drawn, into a separate file."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from report_factory import FAULT, a_report, an_offset, said

from avsync.core.errors import OutputError, UsageError
from avsync.core.files import protect
from avsync.core.report import Report, TrackReport
from avsync.report.plot import PLOT, plotted, save_plot
from avsync.report.summary import summary


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


def test_the_title_says_what_the_summary_says():
    late = replace(FAULT, start_s=16.0, end_s=18.8, offset_ms=-307.0)
    report = replace(a_report(offset_ms=16.0), segments=(), faults=(late,))
    title = plotted(report).get_suptitle()
    assert title.split("\n", 1)[1].replace("\n", " ") == f"OUT OF SYNC: {summary(report)}"


def test_a_face_that_is_out_of_tolerance_has_a_curve_of_its_own():
    inside, late = an_offset(16.0), an_offset(-307.0)
    tracks = tuple(TrackReport(i, 0, 9, 200, o, i == 1, 1.0) for i, o in enumerate((inside, late)))
    curves = {
        line.get_label(): line
        for line in plotted(replace(a_report(offset_ms=16.0), tracks=tracks)).axes[0].lines
    }
    assert {"face 0", "face 1", "audio 16 ms early"} == set(curves)
    assert curves["face 0"].get_color() != curves["face 1"].get_color()


def test_a_plot_that_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "taken").write_text("a file where a folder is wanted")
    with pytest.raises(OutputError, match="Cannot write the plot"):
        save_plot(a_report(), tmp_path / "taken" / "plot.png")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_only_a_plot_of_avsyncs_is_replaced(tmp_path: Path):
    target = save_plot(Report("x.mp4", "cannot-tell"), tmp_path / "plot.png")
    protect(target, PLOT, "--plot")
    image = np.zeros((8, 8, 3), np.uint8)
    assert cv2.imwrite(str(target), image)
    with pytest.raises(UsageError, match="not a plot written by avsync; name another file for --plot"):
        protect(target, PLOT, "--plot")
