"""How big and how fast a model is on this machine, the plain way and ours side by side in one run."""

from __future__ import annotations

import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from avsync import media, pipeline
from avsync.bench.models import Named, load_for_timing
from avsync.demo import write_demo
from avsync.errors import MediaError
from avsync.mfcc import COEFFICIENTS, WINDOW_COLUMNS
from avsync.network import Network, count_parameters
from avsync.records import Clip, Waveform
from avsync.scores import audio_windows, score_clip, to_input
from avsync.settings import (
    FACE_SIZE,
    MEL_BANDS,
    MOUTH_HEIGHT,
    PROTOCOL_RADIUS,
    SAMPLE_RATE,
    WINDOW_FRAMES,
    WINDOW_MELS,
)
from avsync.syncnet import FACE_PIXELS
from avsync.weights import Loaded

PICTURES = {"mouth": (MOUTH_HEIGHT, FACE_SIZE), "face": (FACE_PIXELS, FACE_PIXELS)}
SOUNDS = {"mel": (1, 1, MEL_BANDS, WINDOW_MELS), "mfcc": (1, 1, COEFFICIENTS, WINDOW_COLUMNS)}
"""Shapes of one window's inputs."""
PAIRS = 2 * PROTOCOL_RADIUS + 1
DEMO_PERIOD_S = 20.0
"""The long video for the end-to-end timing repeats a made clip of this length."""


@dataclass(frozen=True)
class ModelSpeed:
    """One model on this machine. `plain_s` and `ours_s` are seconds per window with 31 offsets, medians
    with (least, most); `speedup` their ratio; `largest_difference` of the scores; `gflop_plain` the
    arithmetic of 31 whole passes, in 10^9 multiply-adds times two."""

    name: str
    parameters: int
    megabytes: float | None
    gflop_plain: float
    plain_s: tuple[float, float, float]
    ours_s: tuple[float, float, float]
    speedup: float
    largest_difference: float
    windows: int
    runs: int


def model_speed(named: Named, *, windows: int = 25, plain_windows: int = 2, runs: int = 3) -> ModelSpeed:
    """Times both ways in turn, after one warm-up of each. `windows` neighbouring windows go through ours, the
    first `plain_windows` of them through the plain way, which is too slow for more."""
    loaded = load_for_timing(named)
    clip, sound = _material(windows, PICTURES[loaded.model.picture])
    starts = np.arange(windows)

    def ours() -> np.ndarray:
        return score_clip(loaded, clip, starts, sound, PROTOCOL_RADIUS)

    def plain() -> np.ndarray:
        return plain_scores(loaded, clip, sound, plain_windows)

    difference = float(np.nanmax(np.abs(ours()[:plain_windows] - plain())))
    plain_times, our_times = [], []
    for _ in range(runs):
        plain_times.append(_seconds(plain) / plain_windows)
        our_times.append(_seconds(ours) / windows)
    known = loaded.path.is_file()
    return ModelSpeed(
        name=named.name,
        parameters=count_parameters(loaded.model),
        megabytes=round(loaded.path.stat().st_size / 1e6, 1) if known else None,
        gflop_plain=round(PAIRS * pair_gflop(loaded.model), 1),
        plain_s=_spread(plain_times),
        ours_s=_spread(our_times),
        speedup=statistics.median(p / o for p, o in zip(plain_times, our_times, strict=True)),
        largest_difference=difference,
        windows=windows,
        runs=runs,
    )


def _material(windows: int, size: tuple[int, int]) -> tuple[Clip, Waveform]:
    """Random pictures and sound of `windows` windows, with sound for every candidate offset."""
    rng = np.random.default_rng(0)
    mouths = rng.integers(0, 256, (windows + WINDOW_FRAMES - 1, *size, 3), np.uint8)
    seconds = len(mouths) / 25 + 2
    samples = (0.1 * rng.standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)
    return Clip(0, 0.0, mouths), Waveform(samples, -1.0)


@torch.inference_mode()
def plain_scores(loaded: Loaded, clip: Clip, sound: Waveform, windows: int) -> np.ndarray:
    """The whole network on every pair of the first `windows` windows, (windows, 31)."""
    sounds, _ = audio_windows(clip, sound, PROTOCOL_RADIUS, loaded.model.sound)
    pixels = to_input(clip.mouths, loaded.preprocessing, loaded.device)
    rows = []
    for t in range(windows):
        frames = pixels[t : t + WINDOW_FRAMES].flatten(0, 1).expand(PAIRS, -1, -1, -1)
        heard = torch.from_numpy(np.ascontiguousarray(sounds[t : t + PAIRS]))[:, None]
        rows.append(loaded.model(frames, heard).numpy())
    return np.stack(rows)


def pair_gflop(model: Network) -> float:
    """Arithmetic of one whole pass on one pair, in 10^9 operations."""
    inputs = [torch.zeros(1, 3 * WINDOW_FRAMES, *PICTURES[model.picture]), torch.zeros(SOUNDS[model.sound])]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(*inputs)
    return counter.get_total_flops() / 1e9


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _spread(times: list[float]) -> tuple[float, float, float]:
    return statistics.median(times), min(times), max(times)


def write_long_video(target: Path, seconds: float, height: int = 720) -> None:
    """A talking head of the given length, 16:9: the made demo face beside black, repeated."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        short = write_demo(Path(folder) / "short.mp4", duration_s=min(seconds, DEMO_PERIOD_S))
        width = height * 16 // 9
        command = [
            *[
                media.ffmpeg_path(),
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
    """`check` of a made talking head of that length in 720p, model loading included: seconds by stage."""
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
        "seconds_per_second_of_video": round(total / seconds, 3),
    }


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def as_dict(speed: ModelSpeed) -> dict[str, Any]:
    """Plain values for JSON."""
    return asdict(speed)
