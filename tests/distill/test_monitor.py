"""A run's records: lines of JSON, and TensorBoard's events where that is installed."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from avsync.distill.monitor import METRICS, Monitor, read_metrics


def step(number: int, loss: float) -> dict[str, object]:
    return {"kind": "train", "step": number, "epoch": 0, "loss": loss, "losses": {"bce": loss / 2}}


def recorded(folder: Path, entries: Iterable[dict[str, object]], after_step: int = 0) -> None:
    with Monitor(folder, 10, after_step=after_step, quiet=True) as monitor:
        for entry in entries:
            monitor.record(entry)


def test_every_record_is_a_line_of_json(tmp_path: Path) -> None:
    recorded(tmp_path, [step(1, 0.7), {"kind": "validation", "step": 1, "f1": 0.5}])
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["train", "validation"]


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    recorded(tmp_path, [step(n, 1 / n) for n in (1, 2, 3, 4)])
    recorded(tmp_path, [step(3, 0.9)], after_step=2)
    assert [(r["step"], r["loss"]) for r in read_metrics(tmp_path)] == [(1, 1.0), (2, 0.5), (3, 0.9)]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    recorded(tmp_path, [step(1, 1.0)])
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"kind": "train", "st')
    assert [r["step"] for r in read_metrics(tmp_path)] == [1]


def test_tensorboard_sees_the_same_curves_also_after_a_resume(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recorded(tmp_path, [step(n, 1 / n) for n in (1, 2, 3, 4)])
    recorded(tmp_path, [step(3, 0.75)], after_step=2)
    board = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    seen = [(e.step, e.value) for e in board.Scalars("train/loss")]
    assert seen == [(1, 1.0), (2, 0.5), (3, 0.75)]
    assert board.Scalars("train/losses/bce")[-1].value == pytest.approx(0.375)
