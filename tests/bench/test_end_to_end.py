"""A long made video is checked and its time split by stage."""

from pathlib import Path

import pytest
import torch

from avsync.bench.speed import end_to_end, write_long_video
from avsync.media.probe import probe
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.vocalist import Dims, VocaLiST

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
    by_stage = result["by_stage_per_second_of_video"]
    assert by_stage["total"] == pytest.approx(result["timings_s"]["total"] / 2.0, abs=0.01)
