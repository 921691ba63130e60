"""A whole `check` of one long made video, by stage."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from avsync import pipeline
from avsync.demo import write_demo
from avsync.errors import MediaError
from avsync.program import ffmpeg_path

DEMO_PERIOD_S = 20.0
"""The long video repeats a made clip of this length."""


def write_long_video(target: Path, seconds: float, height: int = 720) -> None:
    """A talking head of the given length, 16:9: the made demo face beside black, repeated."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        short = write_demo(Path(folder) / "short.mp4", duration_s=min(seconds, DEMO_PERIOD_S))
        width = height * 16 // 9
        command = [
            *[
                ffmpeg_path(),
                "-nostdin",
                "-v",
                "error",
                "-y",
                "-stream_loop",
                "-1",
                "-i",
                f"file:{short}",
            ],
            *["-t", f"{seconds}", "-vf", f"scale=-2:{height},pad={width}:{height}:-1:-1", "-c:v", "libx264"],
            *["-preset", "veryfast", "-crf", "20", "-c:a", "aac", f"file:{target.resolve()}"],
        ]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise MediaError(f"{target} could not be made: {done.stderr.decode(errors='replace').strip()}")


def end_to_end(model: str, seconds: float) -> dict[str, Any]:
    """`check` of a made talking head of that length in 720p, model loading included: seconds by stage. What a
    stage waits for the one before is booked to that one, since they work at the same time."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        video = Path(folder) / "long.mp4"
        write_long_video(video, seconds)
        pipeline.load_model.cache_clear()
        report = pipeline.check(video, model=model)
    total = report.timings_s["total"]
    return {
        "video_s": seconds,
        "verdict": report.verdict,
        "offset_ms": report.offset_ms,
        "timings_s": {k: round(v, 2) for k, v in report.timings_s.items()},
        "by_stage_per_second_of_video": {k: round(v / seconds, 4) for k, v in report.timings_s.items()},
        "seconds_per_second_of_video": round(total / seconds, 3),
    }
