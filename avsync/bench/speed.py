"""Size and speed of a model on this machine: a naive forward pass per pair beside avsync's scoring."""

from __future__ import annotations

import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from avsync import api
from avsync.audio.mfcc import COEFFICIENTS, WINDOW_COLUMNS
from avsync.bench.cost import against_decoding
from avsync.bench.models import Named, load_for_timing
from avsync.core.constants import (
    FACE_SIZE,
    FRAME_RATE,
    MEL_BANDS,
    MOUTH_HEIGHT,
    PROTOCOL_RADIUS,
    SAMPLE_RATE,
    WHOLE_FACE_SIZE,
    WINDOW_FRAMES,
    WINDOW_MELS,
)
from avsync.core.errors import ModelError
from avsync.core.records import Clip, Waveform
from avsync.demo.clip import write_demo
from avsync.media.container import source
from avsync.media.ffmpeg import run_ffmpeg
from avsync.networks.base import Network, count_parameters
from avsync.networks.checkpoint import Loaded
from avsync.networks.scoring import audio_windows, score_clip, to_input
from avsync.pipeline import run

FRAME_SIZES = {"mouth": (MOUTH_HEIGHT, FACE_SIZE), "face": (WHOLE_FACE_SIZE, WHOLE_FACE_SIZE)}
AUDIO_SHAPES = {"mel": (1, 1, MEL_BANDS, WINDOW_MELS), "mfcc": (1, 1, COEFFICIENTS, WINDOW_COLUMNS)}
"""Input shapes of one window."""
PAIRS = 2 * PROTOCOL_RADIUS + 1


class Spread(NamedTuple):
    """Median, minimum and maximum of several runs."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class ModelSpeed:
    """One model on this machine, on windows with 31 offsets.

    `plain_s` (naive) and `ours_s` (avsync's scoring): seconds per window; `speedup`: their ratio;
    `largest_difference`: between their scores. `windows_per_s` and `real_time_factor` (seconds of work per
    second of one face with every window scored) are for avsync's scoring. `gflop_plain` and `gflop_ours`:
    10^9 operations per window, counting a multiply-add as two. `megabytes`: of the checkpoint, None without
    one. `peak_mb`: peak memory of avsync's scoring, of the whole process on a CPU, of the card on a GPU.
    """

    name: str
    device: str
    parameters: int
    megabytes: float | None
    gflop_plain: float
    gflop_ours: float
    plain_s: Spread
    ours_s: Spread
    windows_per_s: Spread
    real_time_factor: float
    speedup: float
    largest_difference: float
    peak_mb: float
    windows: int
    runs: int


def model_speeds(
    models: Sequence[Named], *, device: str = "cpu", windows: int = 25, runs: int = 3
) -> list[ModelSpeed]:
    """Time each model in a separate process, one after the other, so that they do not share memory and
    caches. Raises ModelError if a checkpoint cannot be used or memory runs out."""
    found = []
    for model in models:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            timed = pool.submit(model_speed, model, device=device, windows=windows, runs=runs)
            try:
                found.append(timed.result())
            except BrokenProcessPool as error:
                raise ModelError(
                    f"The process that timed {model.name} was killed, most likely because it ran out of "
                    "memory; use fewer --windows."
                ) from error
    return found


def model_speed(
    named: Named, *, device: str = "cpu", windows: int = 25, plain_windows: int = 2, runs: int = 3
) -> ModelSpeed:
    """Time both ways in turn, after one warm-up of each. avsync's scoring gets `windows` neighbouring
    windows, the naive way only the first `plain_windows` of them, as it is slow."""
    loaded = load_for_timing(named, device)
    context = loaded.model.frame_context
    clip, audio = _material(windows + 2 * context, FRAME_SIZES[loaded.model.crop])
    starts = np.arange(context, context + windows)

    def ours() -> np.ndarray:
        return score_clip(loaded, clip, starts, audio, PROTOCOL_RADIUS)

    def plain() -> np.ndarray:
        return plain_scores(loaded, clip, audio, plain_windows)

    scores = ours()
    peak = peak_mb(loaded.device)
    difference = float(np.nanmax(np.abs(scores[:plain_windows] - plain())))
    plain_times, our_times = [], []
    for _ in range(runs):
        plain_times.append(_seconds(plain, loaded.device) / plain_windows)
        our_times.append(_seconds(ours, loaded.device) / windows)
    known = loaded.path.is_file()
    return ModelSpeed(
        name=named.name,
        device=str(loaded.device),
        parameters=count_parameters(loaded.model),
        megabytes=round(loaded.path.stat().st_size / 1e6, 1) if known else None,
        gflop_plain=round(PAIRS * pair_gflop(loaded.model), 2),
        gflop_ours=round(gflop(ours) / windows, 2),
        plain_s=spread(plain_times),
        ours_s=spread(our_times),
        windows_per_s=spread([1 / t for t in our_times]),
        real_time_factor=round(FRAME_RATE * statistics.median(our_times), 4),
        speedup=statistics.median(p / o for p, o in zip(plain_times, our_times, strict=True)),
        largest_difference=difference,
        peak_mb=round(peak, 1),
        windows=windows,
        runs=runs,
    )


def _material(windows: int, size: tuple[int, int]) -> tuple[Clip, Waveform]:
    """Random frames and audio for `windows` windows and every candidate offset."""
    rng = np.random.default_rng(0)
    mouths = rng.integers(0, 256, (windows + WINDOW_FRAMES - 1, *size, 3), np.uint8)
    seconds = len(mouths) / FRAME_RATE + 2
    samples = (0.1 * rng.standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)
    return Clip(0, 0.0, mouths), Waveform(samples, -1.0)


@torch.inference_mode()
def plain_scores(loaded: Loaded, clip: Clip, audio: Waveform, windows: int) -> np.ndarray:
    """Logits (windows, 31) by the whole network on every pair of the first `windows` windows that have their
    full context."""
    model, context = loaded.model, loaded.model.frame_context
    length = WINDOW_FRAMES + 2 * context
    audio_input = audio_windows(clip, audio, PROTOCOL_RADIUS, model.audio_input, model.audio_context)
    pixels = to_input(clip.mouths[: windows + length - 1], loaded.preprocessing, loaded.device)
    rows = []
    for t in range(windows):
        frames = pixels[t : t + length].flatten(0, 1).expand(PAIRS, -1, -1, -1)
        candidates = np.ascontiguousarray(audio_input[t + context : t + context + PAIRS])[:, None]
        rows.append(model(frames, torch.from_numpy(candidates).to(loaded.device)).cpu().numpy())
    return np.stack(rows)


def pair_gflop(model: Network) -> float:
    """10^9 operations of one forward pass on one pair."""
    device = next(model.parameters()).device
    frames = torch.zeros(
        1, 3 * (WINDOW_FRAMES + 2 * model.frame_context), *FRAME_SIZES[model.crop], device=device
    )
    *size, columns = AUDIO_SHAPES[model.audio_input]
    audio_input = torch.zeros((*size, columns + 2 * model.audio_context), device=device)
    with torch.inference_mode():
        return gflop(lambda: model(frames, audio_input))


def gflop(work: Callable[[], object]) -> float:
    """10^9 operations of `work`, counting a multiply-add as two."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Duration of `work`; on a GPU, measured by its own events."""
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize(device)
        return begin.elapsed_time(end) / 1000
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(times: list[float]) -> Spread:
    """The spread of several runs."""
    return Spread(statistics.median(times), min(times), max(times))


def peak_mb(device: torch.device) -> float:
    """Peak memory in MB: of the whole process on a CPU, of the card on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.is_file():
        # On Linux, getrusage would report the peak inherited from the parent.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def machine(device: str = "cpu") -> dict[str, Any]:
    """Description of this machine."""
    on_gpu = device != "cpu" and torch.cuda.is_available()
    return {
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
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


DEMO_PERIOD_S = 20.0
"""The long video repeats a synthetic clip of this length."""


def write_long_video(target: Path, seconds: float, height: int = 720) -> None:
    """Write a talking head of the given length, 16:9: the demo face on black, repeated."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        short = write_demo(Path(folder) / "short.mp4", duration_s=min(seconds, DEMO_PERIOD_S))
        width = height * 16 // 9
        run_ffmpeg(
            [
                *["-y", "-stream_loop", "-1", "-i", source(short), "-t", f"{seconds}"],
                *["-vf", f"scale=-2:{height},pad={width}:{height}:-1:-1", "-c:v", "libx264"],
                *["-preset", "veryfast", "-crf", "20", "-c:a", "aac", source(target)],
            ],
            f"make {target}",
        )


def end_to_end(model: str, seconds: float, given: Path | None = None) -> dict[str, Any]:
    """`check` of the `given` video, or of a synthetic talking head of that length in 720p, including loading
    the model: seconds by stage, and the total cost compared with plain decoding. The stages overlap; time
    that a stage waits for another counts for the other."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        video = given or Path(folder) / "long.mp4"
        if given is None:
            write_long_video(video, seconds)
        run.load_model.cache_clear()
        report = api.check(video, model=model, sample="exhaustive")
        compared = against_decoding(video, model)
    seconds = report.duration_s or seconds
    total = report.timings_s["total"]
    return {
        "video_s": seconds,
        "verdict": report.verdict,
        "offset_ms": report.offset_ms,
        "timings_s": {k: round(v, 2) for k, v in report.timings_s.items()},
        "by_stage_per_second_of_video": {k: round(v / seconds, 4) for k, v in report.timings_s.items()},
        "seconds_per_second_of_video": round(total / seconds, 3),
        "against_decoding": compared,
    }
