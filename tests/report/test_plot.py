"""Every report can be drawn, into a separate file."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from report_factory import a_report, said

from avsync.core.errors import OutputError, UsageError
from avsync.core.files import protect
from avsync.core.report import Report
from avsync.report.plot import PLOT, save_plot


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
