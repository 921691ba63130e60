"""What a distillation run's log tells."""

import json
from pathlib import Path

import pytest

from avsync.bench.run_logs import loss_shares, read_run, read_runs, selection
from avsync.core.errors import UsageError
from avsync.distill.losses import LAYERS

MAPS = [f"{layer}_{term}" for layer in LAYERS for term in ("cad", "vr")]


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (["bce", *MAPS], "all"),
        (["bce", *[m for m in MAPS if m.endswith("cad")]], "all (CAD)"),
        (["bce", *[m for m in MAPS if m.startswith("fusion")]], "fusion 1-4"),
        (["bce", "fusion4_cad", "fusion4_vr"], "fusion 4"),
        (["bce", "av1_vr", "av3_vr", "va2_vr"], "av 1+3, va 2 (VR)"),
        (["bce", "kd"], "none"),
    ],
)
def test_the_distilled_layers_in_words(tasks: list[str], words: str) -> None:
    assert selection(tasks) == words


def test_shares_are_of_the_weighted_loss_and_sum_to_one() -> None:
    losses = {"bce": 0.5, "av1_cad": 1.0, "av1_vr": 2.0, "av2_cad": 3.0}
    alone = loss_shares(losses, {"bce": 2.0, "av1_cad": 1.0, "av1_vr": 0.5, "av2_cad": 1.0})
    assert alone == pytest.approx({"bce": 1 / 6, "av CAD": 4 / 6, "av VR": 1 / 6})
    together = loss_shares(losses, {"bce": 2.0, "av1": 0.5, "av2": 1.0})
    assert together == pytest.approx({"bce": 1 / 5.5, "av CAD": 3.5 / 5.5, "av VR": 1 / 5.5})
    assert sum(loss_shares(losses, {}).values()) == pytest.approx(1)


def write_log(folder: Path, tasks: list[str], figures: list[dict[str, float]]) -> Path:
    folder.mkdir(parents=True)
    rows = [{"kind": "train", "step": n, "loss": 1.0, "losses": dict.fromkeys(tasks, 1.0), "factors": {}}
            for n in (10, 20)]  # fmt: skip
    rows += [{"kind": "validation", "step": 20, **figure} for figure in figures]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_a_run_is_its_layers_its_best_and_its_curves(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "one", ["bce", "fusion4_cad"], [{"f1": 0.7}, {"f1": 0.9}, {"f1": 0.8}])
    run = read_run(folder)
    assert (run["run"], run["layers"], run["measure"], run["best"]) == ("one", "fusion 4 (CAD)", "f1", 0.9)
    assert run["loss_ratio"] == {"steps": [10, 20], "groups": {"bce": [0.5, 0.5], "fusion CAD": [0.5, 0.5]}}
    assert read_run(folder / "metrics.jsonl") == run


def test_a_run_without_validation_has_no_best(tmp_path: Path) -> None:
    assert read_run(write_log(tmp_path / "one", ["bce"], []))["best"] is None


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no log"):
        read_run(tmp_path)


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = [write_log(tmp_path / place / "run", ["bce"], []) for place in ("a", "b")]
    with pytest.raises(UsageError, match="called run"):
        read_runs(folders)
