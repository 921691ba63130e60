"""A long made video is checked and its time split by stage."""

import sys
from pathlib import Path

import pytest
import torch

from avsync.bench.cost import cost
from avsync.bench.speed import end_to_end, write_long_video
from avsync.core.errors import MediaError
from avsync.media.probe import probe
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

pytestmark = pytest.mark.slow

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    torch.manual_seed(0)
    return str(checkpoint.save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()))


def test_a_whole_check_is_timed_by_stage(tiny: str, tmp_path: Path) -> None:
    video = tmp_path / "long.mp4"
    write_long_video(video, 3.0, height=360)
    found = probe(video).video
    assert found and (found.width, found.height) == (640, 360)
    result = end_to_end(tiny, 2.0)
    assert {"faces", "scores", "total"} <= set(result["timings_s"])
    assert result["seconds_per_second_of_video"] > 0
    compared = result["against_decoding"]
    assert 0 < compared["decoding"]["cpu_s"] < compared["check"]["cpu_s"]
    assert compared["short_clip"]["cpu_s"] > 0
    assert compared["ratio"] == pytest.approx(
        compared["check"]["cpu_s"] / compared["decoding"]["cpu_s"], abs=0.01
    )
    by_stage = result["by_stage_per_second_of_video"]
    assert by_stage["total"] == pytest.approx(result["timings_s"]["total"] / result["video_s"], abs=0.01)


def test_a_command_that_fails_has_no_cost() -> None:
    with pytest.raises(MediaError, match="code 5"):
        cost([sys.executable, "-c", "raise SystemExit(5)"])
    assert cost([sys.executable, "-c", "sum(range(3_000_000))"]).cpu_s > 0.01
