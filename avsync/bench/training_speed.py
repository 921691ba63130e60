"""Training speed on this machine: samples per second, and the share of the device's peak."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avsync.bench.speed import Spread, gflop, peak_mb, spread
from avsync.core.constants import FRAME_RATE
from avsync.core.errors import MediaError
from avsync.data.labels import read_delays
from avsync.data.shards import REGION, SAMPLES_PER_FRAME, ShardWriter, Store, StoredClip
from avsync.data.sources import TRAINING
from avsync.distill.distributed import World
from avsync.distill.inputs import Loader, tuned
from avsync.distill.loop import STAGES, is_bf16, settle, train_step
from avsync.distill.methods import METHODS
from avsync.distill.recipe import Recipe, changed
from avsync.distill.run import find_teacher, make_task
from avsync.distill.tasks import usable
from avsync.distill.trainer import Trainer
from avsync.networks.base import Preprocessing, Scorer, count_parameters
from avsync.networks.checkpoint import pick_device
from avsync.networks.dims import TEACHER
from avsync.networks.registry import DUAL, AnyDims, build_network

PAPER_SAMPLES = 80 * 96_318
"""Samples in the paper's whole schedule."""
MADE_CLIPS, MADE_FRAMES = 32, 75
RUN_S = 3.0
"""A timed run has as many steps as fit into about this time, at least one."""
WARM_UP_STEPS = 3
MATRIX = {"cpu": 2048, "cuda": 8192}
"""Size of the square matrices whose product measures the device's peak."""
DATASHEET_TFLOPS = {"H200": 989.0, "H100 80GB HBM3": 989.0, "A100": 312.0}
"""NVIDIA's figures for dense bf16, by part of the card's name."""


@dataclass(frozen=True)
class TrainSpeed:
    """A recipe's training on this machine.

    `samples_per_s`: pairs (dense: clips), including loading; `without_loading_per_s`: with the same inputs
    reused. `gflop_per_sample`: 10^9 operations of a step (teacher, student and backward pass). `tflops`:
    10^12 of them a second. `peak_tflops`: reached by one large matrix product in the same precision;
    `datasheet_tflops`: by the manufacturer (None if unknown); the `share_of_...` are relative to those.
    `stage_ms`: milliseconds per step of each stage, synchronised. `paper_hours`: time for the paper's 80 x
    96,318 samples at this rate, for pairs.
    """

    method: str
    objective: str
    student_parameters: int
    teacher_parameters: int | None
    batch: int
    precision: str
    data: str
    samples_per_s: Spread
    without_loading_per_s: Spread
    gflop_per_sample: float
    tflops: float
    peak_tflops: float
    share_of_peak: float
    datasheet_tflops: float | None
    share_of_datasheet: float | None
    paper_hours: float | None
    peak_mb: float
    stage_ms: Mapping[str, float]
    steps: int
    runs: int


def train_speed(
    recipe: Recipe,
    *,
    cache: Path | None = None,
    device: str = "auto",
    runs: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> TrainSpeed:
    """Time `runs` runs of the training loop's own steps, after a warm-up, on the clips of a prepared `cache`
    (None: synthetic ones).

    If the recipe names no teacher, it is the paper's network with random weights. Raises MediaError if the
    cache has no clips to train on, and any error of loading the teacher.
    """
    target = pick_device(device)
    teacher = _teacher(recipe, target)
    teacher_size = sum(p.numel() for p in teacher.model.parameters()) if teacher else None
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder, tuned(target):
        store = _store(cache or made_clips(Path(folder)), recipe)
        compiled = recipe.machine.compile
        # Count operations before compiling, which would hide them.
        recipe = changed(recipe, samples_per_epoch=10_000 * recipe.batch, init=None, compile=False)
        few = store.select(lambda clip: clip.id == store.clips[0].id)
        task = make_task(recipe, (store, few), teacher, target, World())
        trainer = Trainer(recipe, task, Path(folder), target, World(), {})
        trainer.module.train()
        operations = gflop(lambda: train_step(trainer, task.load(0, 0))) / recipe.batch
        if compiled:
            trainer.compile()
        steps = _warm_up(trainer)
        rate, without_loading = _rates(trainer, steps, runs, recipe.batch, progress)
        stages = stage_seconds(trainer, steps)
    low = is_bf16(recipe.machine.precision, target)
    tflops = rate.median * operations / 1000
    peak = matrix_tflops(target, torch.bfloat16 if low else torch.float32)
    sheet = _datasheet(target) if low else None
    return TrainSpeed(
        method=recipe.losses.method,
        objective=recipe.objective,
        student_parameters=count_parameters(task.objective.get_submodule("student")),
        teacher_parameters=teacher_size,
        batch=recipe.batch,
        precision="bf16" if low else "fp32",
        data=str(cache) if cache else "made",
        samples_per_s=rate,
        without_loading_per_s=without_loading,
        gflop_per_sample=round(operations, 3),
        tflops=tflops,
        peak_tflops=peak,
        share_of_peak=tflops / peak,
        datasheet_tflops=sheet,
        share_of_datasheet=tflops / sheet if sheet else None,
        paper_hours=PAPER_SAMPLES / rate.median / 3600 if recipe.objective == "pairs" else None,
        peak_mb=round(peak_mb(target), 1),
        stage_ms={stage: round(1000 * seconds, 3) for stage, seconds in stages.items()},
        steps=steps,
        runs=runs,
    )


def _rates(
    trainer: Trainer, steps: int, runs: int, batch: int, progress: Callable[[int, int], None] | None
) -> tuple[Spread, Spread]:
    """Samples per second over `runs` runs of `steps` steps: as in training, and with one batch over again."""
    loaded, again = [], []
    for number in range(runs):
        if progress:
            progress(number, runs)
        loaded.append(batch * steps / _seconds(trainer, steps, load=True))
        again.append(batch * steps / _seconds(trainer, steps, load=False))
    return spread(loaded), spread(again)


def _teacher(recipe: Recipe, device: torch.device) -> Scorer | None:
    """The recipe's teacher, or one with random weights at the same cost."""
    if not METHODS[recipe.losses.method].teacher:
        return None
    if recipe.network.teacher:
        return find_teacher(recipe, recipe.network.teacher, device)
    dims: AnyDims = DUAL if recipe.objective == "dense" else TEACHER
    network = build_network(dims).eval().to(device).requires_grad_(False)
    return Scorer(network, Preprocessing("bgr", 1 / 255))


def _store(cache: Path, recipe: Recipe) -> Store:
    data = recipe.data
    least = recipe.dense.min_clip_windows if recipe.objective == "dense" else 0
    store = Store(cache, data.train_splits or TRAINING, min_windows=2)
    found = usable(store, data, read_delays(data.delays), least)
    if not len(found):
        raise MediaError(
            f"{cache} holds no prepared clips to train on; fill it with: avsync train --prepare-only."
        )
    return found


def made_clips(folder: Path) -> Path:
    """A prepared cache of noise, three seconds per clip."""
    rng = np.random.default_rng(0)
    writer = ShardWriter(folder, 0)
    for number in range(MADE_CLIPS):
        wave = rng.integers(-9000, 9000, MADE_FRAMES * SAMPLES_PER_FRAME).astype(np.int16)
        clip = StoredClip(f"made/{number}", "train", "made", "0", MADE_FRAMES, len(wave), float(FRAME_RATE))
        writer.add(clip, [rng.integers(0, 256, (MADE_FRAMES, *REGION), np.uint8)], wave)
    writer.close()
    return folder


def _warm_up(trainer: Trainer) -> int:
    """Run some steps; returns how many make a timed run."""
    _seconds(trainer, 1, load=True)
    steps = 1 if trainer.device.type == "cpu" else WARM_UP_STEPS
    return max(1, round(RUN_S * steps / _seconds(trainer, steps, load=True)))


def _seconds(trainer: Trainer, steps: int, *, load: bool) -> float:
    """Duration of `steps` steps, with inputs prefetched as in training, or the same inputs every time."""
    task, first = trainer.task, trainer.progress.step
    with (
        Loader(trainer.device, trainer.recipe.machine.loaders) as loader,
        closing(loader.ahead(task, 0, first, first + steps)) as coming,
    ):
        same = None if load else task.load(0, first)
        settle(trainer.device)
        begun = time.perf_counter()
        for _ in range(steps):
            train_step(trainer, next(coming) if load else same)
            trainer.progress.step += 1
        settle(trainer.device)
        return time.perf_counter() - begun


def stage_seconds(trainer: Trainer, steps: int) -> dict[str, float]:
    """Seconds per step of each stage, synchronised after each: "inputs", which training prefetches, and
    STAGES."""
    spent: dict[str, float] = dict.fromkeys(("inputs", *STAGES), 0.0)
    at = time.perf_counter()

    def mark(stage: str) -> None:
        nonlocal at
        settle(trainer.device)
        spent[stage] += time.perf_counter() - at
        at = time.perf_counter()

    for _ in range(steps):
        settle(trainer.device)
        at = time.perf_counter()
        inputs = trainer.task.load(0, trainer.progress.step)
        mark("inputs")
        train_step(trainer, inputs, mark)
        trainer.progress.step += 1
    return {stage: seconds / steps for stage, seconds in spent.items()}


def matrix_tflops(device: torch.device, dtype: torch.dtype, runs: int = 5) -> float:
    """10^12 operations a second of a large matrix product, the best of several runs."""
    n = MATRIX[device.type]
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(runs + 1):
        settle(device)
        begun = time.perf_counter()
        torch.mm(a, b)
        settle(device)
        best = min(best, time.perf_counter() - begun)
    return 2 * n**3 / best / 1e12


def _datasheet(device: torch.device) -> float | None:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((value for part, value in DATASHEET_TFLOPS.items() if part in name), None)


def as_dict(found: TrainSpeed) -> dict[str, Any]:
    """Plain values for JSON."""
    return asdict(found)
