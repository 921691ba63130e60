"""Figures show what was measured, and draw only that."""

from pathlib import Path
from typing import Any

import pytest

from avsync.bench.figures import figures_of, save_figures
from avsync.bench.published import ROWS, as_dict
from avsync.evaluation.protocol import FRAMES_K

ACCURACY = {
    "data": "x/lrs2-mini",
    "split": "test",
    "clips": 7,
    "models": [
        {"name": "mine", "parameters": 5_000_000,
         "window_accuracy": {str(k): [30.0 + k, 25.0 + k, 35.0 + k] for k in FRAMES_K}}
    ],
    "published": [as_dict(row) for row in ROWS],
}  # fmt: skip
RELIABILITY = {
    "table": [[0.3, 0.5, 4], [0.9, 1.0, 2]],
    "expected_calibration_error": 0.1,
    "interval_holds": 1.0,
}


def run(name: str, best: float | None) -> dict[str, Any]:
    ratio = {"steps": [1, 2], "groups": {"bce": [0.9, 0.8], "fusion CAD": [0.1, 0.2]}}
    return {"run": name, "layers": "fusion 4", "measure": "f1", "best": best, "loss_ratio": ratio}


def lines(figure: Any) -> list[list[float]]:
    return [list(line.get_ydata()) for line in figure.axes[0].lines]


def test_each_part_of_the_document_has_its_figures() -> None:
    whole = {
        "accuracy": ACCURACY,
        "videos": {"reliability": RELIABILITY},
        "runs": [run("a", 0.5), run("b", None)],
    }
    assert set(figures_of(whole)) == {
        "accuracy-by-length", "accuracy-by-size", "reliability", "layers", "loss-ratio-a", "loss-ratio-b",
    }  # fmt: skip
    assert figures_of({"schema": 1}) == {}
    assert set(figures_of({"runs": [run("b", None)]})) == {"loss-ratio-b"}


def test_measured_and_published_curves_are_drawn_apart() -> None:
    figure = figures_of({"accuracy": ACCURACY})["accuracy-by-length"]
    assert [35.0, 37.0, 39.0, 41.0, 43.0, 45.0] in lines(figure)
    assert [91.45, 95.75, 97.99, 98.95, 99.46, 99.68] in lines(figure)
    axes: Any = figure.axes[0]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["mine", "published, on other data"]


def test_accuracy_stands_against_the_cost_where_both_were_measured() -> None:
    found = figures_of({"accuracy": ACCURACY, "speed": [{"name": "mine", "real_time_factor": 0.25}]})
    (bar,) = found["accuracy-by-cost"].axes[0].containers
    assert bar.lines[0].get_xydata().tolist() == [[250.0, 35.0]]  # type: ignore[union-attr]


def test_points_lie_at_their_size() -> None:
    axes: Any = figures_of({"accuracy": ACCURACY})["accuracy-by-size"].axes[0]
    points = [tuple(point) for marks in axes.collections for point in getattr(marks, "get_offsets", list)()]
    assert (80.1, 92.8) in points
    assert any(list(line.get_xdata()) == [5.0] for line in axes.lines)


def test_bars_are_the_best_of_the_runs_that_were_judged() -> None:
    axes: Any = figures_of({"runs": [run("a", 0.5), run("b", 0.7), run("c", None)]})["layers"].axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.5, 0.7]


def test_loss_ratios_are_curves_over_the_steps() -> None:
    figure = figures_of({"runs": [run("a", 0.5)]})["loss-ratio-a"]
    assert lines(figure) == [[0.9, 0.8], [0.1, 0.2]]


@pytest.mark.parametrize("again", [False, True])
def test_files_are_whole_images(again: bool, tmp_path: Path) -> None:
    if again:
        (tmp_path / "figures").mkdir()
        (tmp_path / "figures" / "reliability.png").write_bytes(b"an older one")
    written = save_figures({"videos": {"reliability": RELIABILITY}}, tmp_path / "figures")
    assert [path.name for path in written] == ["reliability.png"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "figures").iterdir())) == 1
