"""Timing compares like with like: both ways score the same pairs alike."""

from pathlib import Path

import pytest
import torch

from avsync import media, weights
from avsync.bench.models import Named
from avsync.bench.speed import end_to_end, model_speed, pair_gflop, write_long_video
from avsync.model import STUDENT, Dims, VocaLiST
from avsync.weights import Preprocessing

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    torch.manual_seed(0)
    return str(weights.save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()))


def test_both_ways_give_the_same_scores(tiny: str) -> None:
    speed = model_speed(Named("tiny", tiny), windows=4, plain_windows=2, runs=2)
    assert speed.largest_difference < 1e-3
    assert 0 < speed.plain_s[1] <= speed.plain_s[0] <= speed.plain_s[2]
    assert speed.speedup > 0
    assert speed.megabytes is not None


def test_the_papers_student_costs_what_the_design_says() -> None:
    assert pair_gflop(VocaLiST(STUDENT).eval()) == pytest.approx(8.4, rel=0.1)


def test_a_whole_check_is_timed_by_stage(tiny: str, tmp_path: Path) -> None:
    video = tmp_path / "long.mp4"
    write_long_video(video, 3.0, height=360)
    found = media.probe(video).video
    assert found and (found.width, found.height) == (640, 360)
    result = end_to_end(tiny, 2.0)
    assert {"faces", "crops", "scores", "total"} <= set(result["timings_s"])
    assert result["seconds_per_second_of_video"] > 0
