"""A repair that is still out of tolerance is made again, shifted by the rest; else that is said, and the exit
code is 1. Real files, measured: containers and measurement leave fractions of a millisecond."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from demo_factory import moved_demo

from avsync import fix_offset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made talking face whose audio is early."""
    return moved_demo(tmp_path_factory.mktemp("early") / "in.mp4", lambda times: np.full_like(times, 150.0))


def test_the_rest_is_removed_in_a_second_round(early: Path, tmp_path: Path) -> None:
    done = fix_offset(early, tmp_path / "out.mp4", tolerance_ms=(0.2, 0.2))
    before, after = done.report_before, done.report_after
    assert before is not None and before.offset_ms is not None and after is not None
    assert done.offset_ms != before.offset_ms
    assert after.offset_ms is not None and abs(after.offset_ms) <= 0.2
    # It is within these limits, but nobody can be sure of that.
    assert [reason.kind for reason in after.reasons][:1] == ["narrow-limits"]
    assert done.exit_code == 0


def test_what_whole_milliseconds_cannot_remove_is_said_and_exits_1(early: Path, tmp_path: Path) -> None:
    """AVI with variable bit rate and an odd frame rate, repaired into Matroska."""
    source = tmp_path / "in.avi"
    codecs = ("-r", "30000/1001", "-c:v", "mpeg4", "-q:v", "2", "-c:a", "libmp3lame", "-q:a", "5")
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", early, *codecs, source], check=True)
    done = fix_offset(source, tmp_path / "out.mkv", tolerance_ms=(0.05, 0.05))
    before, after = done.report_before, done.report_after
    assert before is not None and before.offset_ms is not None and after is not None
    assert after.offset_ms is not None and abs(after.offset_ms) < 1 < abs(before.offset_ms)
    assert (after.verdict, done.exit_code) == ("out-of-sync", 1)
    assert "better, but not in sync" in done.sentence
    assert (tmp_path / "out.mkv").exists()
