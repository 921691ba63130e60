"""How fast training goes: what is timed is the training loop's own step."""

from pathlib import Path

import pytest
import torch
from distill_factory import FAST, SHARED, TINY, TINY_TEACHER, made_cache

from avsync.bench import training_speed
from avsync.bench.training_speed import TrainSpeed, train_speed
from avsync.core.errors import MediaError
from avsync.distill.loop import STAGES
from avsync.distill.recipe import recipe_from
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_speed, "RUN_S", 0.0)
    monkeypatch.setattr(training_speed, "MADE_CLIPS", 2)
    monkeypatch.setitem(training_speed.MATRIX, "cpu", 64)


def timed(cache: Path | None = None, runs: int = 1, **recipe: object) -> TrainSpeed:
    values = {**FAST, "student": TINY, "batch": 2, **recipe}
    return train_speed(recipe_from(values), cache=cache, device="cpu", runs=runs)


def test_rates_shares_and_hours_are_those_of_the_measured_seconds() -> None:
    found = timed(method="bce", runs=2)
    rate = found.samples_per_s
    assert 0 < rate.least <= rate.median <= rate.most
    assert found.tflops == pytest.approx(rate.median * found.gflop_per_sample / 1000, rel=0.01)
    assert found.share_of_peak == pytest.approx(found.tflops / found.peak_tflops)
    assert found.paper_hours == pytest.approx(80 * 96_318 / rate.median / 3600)
    assert set(found.stage_ms) == {"inputs", *STAGES}
    assert all(ms > 0 for stage, ms in found.stage_ms.items() if stage != "teacher")
    assert (found.precision, found.data, found.datasheet_tflops) == ("fp32", "made", None)


def test_a_teacher_costs_its_forward_pass_and_is_random_unless_named(tmp_path: Path) -> None:
    teacher = VocaLiST(Dims.from_dict(TINY_TEACHER)).eval()
    path = checkpoint.save(tmp_path / "teacher", teacher, Preprocessing())
    alone, taught = timed(method="bce"), timed(method="mtd", teacher=str(path))
    assert alone.teacher_parameters is None
    assert taught.teacher_parameters == sum(p.numel() for p in teacher.parameters())
    assert taught.gflop_per_sample > alone.gflop_per_sample > 0


def test_the_clips_may_be_those_of_a_prepared_cache(tmp_path: Path) -> None:
    cache = made_cache(tmp_path / "cache", {"pretrain": [20, 30], "test": [20]})
    dense = {"frames": 14, "anchors": 1, "embedding": 8, "radius": 4}
    found = timed(cache, objective="dense", method="bce", student=SHARED, dense=dense)
    assert (found.objective, found.data, found.paper_hours) == ("dense", str(cache), None)
    with pytest.raises(MediaError, match="no prepared clips"):
        timed(made_cache(tmp_path / "other", {"test": [20]}), method="bce")


def test_the_peak_is_that_of_a_matrix_product() -> None:
    assert training_speed.matrix_tflops(torch.device("cpu"), torch.float32, runs=1) > 0
