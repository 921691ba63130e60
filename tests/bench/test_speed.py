"""Timing compares like with like: both ways score the same pairs alike."""

from pathlib import Path

import pytest
import torch

from avsync.bench.models import Named
from avsync.bench.speed import ModelSpeed, model_speed, model_speeds, pair_gflop
from avsync.core.errors import ModelError
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.dims import STUDENT, Dims
from avsync.networks.vocalist import VocaLiST

pytestmark = pytest.mark.slow

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    torch.manual_seed(0)
    return str(checkpoint.save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()))


def test_both_ways_give_the_same_scores(tiny: str) -> None:
    speed = model_speed(Named("tiny", tiny), windows=4, plain_windows=2, runs=2)
    assert speed.largest_difference < 1e-3
    assert 0 < speed.plain_s[1] <= speed.plain_s[0] <= speed.plain_s[2]
    assert speed.speedup > 0
    assert speed.megabytes is not None


def test_encoding_once_needs_less_arithmetic(tiny: str) -> None:
    speed = model_speed(Named("tiny", tiny), windows=8, plain_windows=1, runs=1)
    assert 0 < speed.gflop_ours < speed.gflop_plain


def test_rates_are_those_of_the_measured_seconds(tiny: str) -> None:
    speed = model_speed(Named("tiny", tiny), windows=4, plain_windows=1, runs=3)
    assert speed.windows_per_s.median == pytest.approx(1 / speed.ours_s.median)
    assert speed.windows_per_s.most == pytest.approx(1 / speed.ours_s.least)
    assert speed.real_time_factor == pytest.approx(25 * speed.ours_s.median, abs=1e-3)


def test_memory_is_that_of_the_model_s_own_process(tiny: str) -> None:
    ballast = torch.ones(1 << 28)  # 1 GB here, which the other process must not see
    (speed,) = model_speeds([Named("tiny", tiny)], windows=2, runs=1)
    assert isinstance(speed, ModelSpeed)
    assert speed.parameters * 4 / 1e6 < speed.peak_mb < ballast.nbytes / 1e6


@pytest.mark.parametrize("name", ["syncnet", "perfect-match", "dual"])
def test_networks_of_the_comparison_score_alike_both_ways(name: str) -> None:
    speed = model_speed(Named(name, name), windows=2, plain_windows=1, runs=1)
    assert speed.megabytes is None
    assert speed.largest_difference < 1e-3


@pytest.mark.parametrize(
    "dims",
    [
        Dims("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, (16, 16), contrast=8, audio_front_end="column1d"),
        Dims("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, None, 8, "column2d", frame_context=True),
        Dims("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, None, 8, "column2d", True, True),
    ],
    ids=["column1d", "column2d with frame context", "wide context"],
)
def test_a_network_that_looks_beyond_its_window_scores_alike_both_ways(tmp_path: Path, dims: Dims) -> None:
    torch.manual_seed(0)
    path = checkpoint.save(tmp_path / "wide", VocaLiST(dims).eval(), Preprocessing())
    speed = model_speed(Named("wide", str(path)), windows=4, plain_windows=2, runs=1)
    assert speed.largest_difference < 1e-4
    assert speed.gflop_ours < speed.gflop_plain / 4


def test_the_papers_student_costs_what_the_design_says() -> None:
    assert pair_gflop(VocaLiST(STUDENT).eval()) == pytest.approx(8.4, rel=0.1)


def test_a_model_that_cannot_be_loaded_is_reported_from_its_own_process(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing"):
        model_speeds([Named("a", str(tmp_path / "nothing.safetensors"))])
