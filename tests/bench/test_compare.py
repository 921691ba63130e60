"""Methods compared under equal budgets: each is trained once, and the table holds what was measured."""

import json

import command
import pytest
import torch
import yaml
from distill_factory import FAST, TINY, TINY_TEACHER, wav2lip_set

from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    torch.manual_seed(1)
    teacher = VocaLiST(Dims(**TINY_TEACHER)).eval()
    options = ["--teacher", checkpoint.save(root / "teacher", teacher, Preprocessing("rgb", 1.0))]
    (root / "recipe.yaml").write_text(yaml.safe_dump({**FAST, "student": TINY, "epochs": 1}))
    options += [
        "--data",
        wav2lip_set(root / "data"),
        "--cache",
        root / "cache",
        "--config",
        root / "recipe.yaml",
    ]
    options += [
        "--run-dir",
        root / "run",
        "--methods",
        "bce,mtd",
        "--split",
        "val",
        "--limit",
        "2",
        "--quiet",
    ]
    return root, run(options), options


def run(options):
    result = command.run("distill", "compare", *options)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_teacher_and_each_method_have_a_row(done):
    root, table, _ = done
    assert table == (root / "run" / "table.md").read_text()
    names = [line.split("|")[1].strip() for line in table.splitlines()]
    assert names == ["student", "---", "teacher", "bce, seed 0", "mtd, seed 0"]
    row = json.loads((root / "run" / "mtd-0" / "result.json").read_text())
    assert row["clips"] == 2
    assert 0 <= row["f1"] <= 1
    assert set(row["accuracy"]) == {"5", "7", "9", "11", "13", "15"}


def test_a_comparison_that_was_stopped_goes_on_where_it_was(done):
    root, table, options = done
    (root / "run" / "mtd-0" / "result.json").unlink()
    kept = (root / "run" / "bce-0" / "best.safetensors").stat().st_mtime_ns
    assert run(options) == table
    assert (root / "run" / "bce-0" / "best.safetensors").stat().st_mtime_ns == kept
