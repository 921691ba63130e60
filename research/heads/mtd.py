"""MTD against KD with avsync-4's data: cross-modal encoders on frozen front-ends, and students of them.

    python research/heads/mtd.py teacher INPUTS VALIDATION --out RESULTS --weights teacher.safetensors
    python research/heads/mtd.py mtd INPUTS VALIDATION --out RESULTS --weights teacher.safetensors --seed 0

The teacher has encoders of width 128 on avsync-4's frozen tokens, whose logit corrects that of the frozen
contrast head. Students have as many layers and heads but half the width, as in the paper, no contrast head,
and learn on pairs by the losses of `avsync.distill`: `bce` from labels alone, `kd` and `mtd` from the teacher
too. INPUTS and VALIDATION are folders of `research/speech/prepare.py`. RESULTS (JSON) collects, by name, each
validation clip's share of windows within a frame at K=5 and K=15. Minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "speech"))
from prepare import CONTEXT, LENGTH
from train import read

from avsync.core.constants import FRAME_RATE as FPS
from avsync.core.constants import MEL_RATE, WINDOW_FRAMES, WINDOW_MELS
from avsync.distill import losses
from avsync.distill.losses import Outputs
from avsync.distill.methods import task_names
from avsync.distill.weighting import Weighting
from avsync.evaluation.protocol import existing_hits
from avsync.networks import checkpoint
from avsync.networks.attention import Maps
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

RADIUS, SIGMA, TEMPERATURE = 15, 0.6, 5.0
WARMUP, WEIGHT_DECAY, CLIP_NORM = 0.1, 0.01, 2.0
ANCHORS, CANDIDATES = 16, 12
"""Of the teacher's training: windows a step, and audio windows that each is scored against."""
PAIRS = 256
"""Of a student's step, half of them in sync."""
KD_WEIGHT = 1.0
LAYERS = 2
HALF_WIDTH = 64
EVERY, LONGEST = 2, 60
"""Validation takes every second clip, and of each its first windows."""


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    teacher = with_encoders(checkpoint.load(given.model, "cpu"), LAYERS)
    table = read(given.inputs)
    begun = time.process_time()
    if given.method == "teacher":
        train_teacher(teacher, table, given)
        safetensors.torch.save_file(teacher.state_dict(), given.weights)
        score = teacher_scores(teacher)
    else:
        teacher.load_state_dict(safetensors.torch.load_file(given.weights))
        student = Student(teacher.dims)
        train_student(student, teacher.eval(), table, given)
        score = student.eval().scores(teacher)
    took = time.process_time() - begun
    paths = sorted(given.validation.iterdir())[::EVERY]
    hits = {p.stem: right(score, teacher, safetensors.torch.load_file(p)) for p in paths}
    k5, k15 = np.mean(list(hits.values()), axis=0)
    print(f"{given.name}: {k5:.2f} / {k15:.2f}, {took:.0f} s of training", flush=True)
    found = json.loads(given.out.read_text()) if given.out.exists() else {}
    chosen = {k: v for k, v in vars(given).items() if not isinstance(v, Path)}
    found[given.name] = {**chosen, "seconds": round(took), "hits": hits}
    given.out.write_text(json.dumps(found, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=["teacher", "bce", "kd", "mtd"])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="the teacher's, written or read")
    parser.add_argument("--model", default="avsync-4")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name")
    given = parser.parse_args()
    given.name = given.name or f"{given.method}-{given.seed}"
    return given


def with_encoders(base: checkpoint.Loaded, layers: int) -> VocaLiST:
    """The network of `base` with cross-modal encoders that correct nothing yet; all else is frozen."""
    network = VocaLiST(replace(base.model.dims, layers=layers))
    network.load_state_dict(base.model.state_dict(), strict=False)
    encoders = ("av_transformer", "va_transformer", "mem_transformer", "fc", "classifier")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(encoders))
    return network.eval()


class Student(nn.Module):
    """Encoders of half the width on the same frozen tokens, narrowed by a linear map each."""

    def __init__(self, teacher: Dims) -> None:
        super().__init__()
        shape = {"d_model": HALF_WIDTH, "contrast": 0, "channels": (8, 8, 8, 8, HALF_WIDTH)}
        self.encoders = VocaLiST(replace(teacher, **shape, audio_channels=(8, 8, 8, 8, HALF_WIDTH)))
        self.narrow = nn.ModuleList(nn.Linear(teacher.d_model, HALF_WIDTH) for _ in range(2))
        for name, parameter in self.encoders.named_parameters():
            parameter.requires_grad_(not name.startswith(("vid_", "aud_")))

    def forward(self, visual: Tensor, audio: Tensor, maps: Maps | None) -> Outputs:
        """Tokens (n, 5, d) and (n, 16, d) of n pairs -> what the losses need."""
        return outputs(self.encoders, self.narrow[0](visual), self.narrow[1](audio), maps)

    def scores(self, teacher: VocaLiST) -> Any:
        """A function of a clip's tokens and of pairs of their numbers."""
        del teacher
        return lambda visual, audio, rows, columns: self.encoders.score_pairs(
            self.narrow[0](visual), self.narrow[1](audio), rows, columns
        )


def teacher_scores(teacher: VocaLiST) -> Any:
    """As `Student.scores`."""
    return teacher.score_pairs


def outputs(network: VocaLiST, visual: Tensor, audio: Tensor, maps: Maps | None) -> Outputs:
    """What the losses need of n pairs."""
    found = network.pair_outputs(visual, audio, maps)
    return Outputs(found.logits, (found.fused, found.av, found.va), tuple(maps or ()))


@torch.no_grad()
def tokens(network: VocaLiST, frames: Tensor, columns: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Frozen tokens of all windows of runs: (n, windows, 5, d) and (n, windows, 16, d)."""
    windows = frames.shape[1] - WINDOW_FRAMES + 1
    cut = network.in_context(frames.float(), present).unfold(1, WINDOW_FRAMES, 1).permute(0, 1, 3, 2)
    first = torch.arange(windows)[:, None] * MEL_RATE // FPS
    heard = columns.float()[:, CONTEXT + first + torch.arange(WINDOW_MELS)]
    return network.mix_window(cut.flatten(0, 1)).unflatten(0, (-1, windows)), heard


def train_teacher(network: VocaLiST, table: dict[str, Tensor], given: argparse.Namespace) -> None:
    """Cross-entropy of a few windows a step over the shifts of their run, and that of pairs, which fixes the
    level of the logits for `kd`."""
    rng = np.random.default_rng(given.seed)
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=given.rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
    level = nn.Parameter(torch.zeros(()))
    optimizer.add_param_group({"params": [level]})
    for step in range(given.steps):
        set_rate(optimizer, given, step)
        visual, audio, rows, columns, shift, true = candidates(network, table, rng)
        for encoder in (network.av_transformer, network.va_transformer, network.mem_transformer):
            encoder.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.score_pairs(visual, audio, rows, columns).float().unflatten(0, shift.shape)
        network.eval()
        target = torch.exp(-((shift - true[:, None]) ** 2) / (2 * SIGMA**2))
        target = target / target.sum(1, keepdim=True).clamp_min(1e-9)
        far = F.softplus(logits - level)[(shift - true[:, None]).abs() > 2].mean()
        close = F.softplus(level - logits)[(shift - true[:, None]).abs() <= 0.5].mean()
        loss = -(target * logits.log_softmax(1)).sum(1).mean() + 0.1 * (far + close)
        update(optimizer, loss, learning, step, given.name)
    with torch.no_grad():
        network.classifier.bias -= level


def candidates(
    network: VocaLiST, table: dict[str, Tensor], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Tokens of windows, pairs of them, and for each anchor the shifts of its candidates (anchors,
    CANDIDATES) and the true one (anchors,): those around the truth, and the rest at random."""
    chosen = rng.choice(len(table["lengths"]), ANCHORS, replace=False)
    lengths = table["lengths"][chosen].numpy()
    present = torch.from_numpy(np.arange(LENGTH) < lengths[:, None])
    visual, audio = tokens(network, table["frames"][chosen], table["columns"][chosen], present)
    rows, columns, shifts = [], [], []
    for number, length in enumerate(lengths):
        windows = length - WINDOW_FRAMES + 1
        at = rng.integers(windows)
        near = np.arange(max(-RADIUS, -at), min(RADIUS, windows - 1 - at) + 1)
        first = np.abs(near) <= 2
        rest = rng.permutation(near[~first])
        picked = np.concatenate([near[first], rest])[:CANDIDATES]
        picked = np.concatenate([picked, np.full(CANDIDATES - len(picked), picked[-1])])
        rows += [number * visual.shape[1] + at] * CANDIDATES
        columns += list(number * visual.shape[1] + at + picked)
        shifts.append(picked)
    numbers = (torch.tensor(np.array(index), dtype=torch.long) for index in (rows, columns))
    true = table["true"][chosen].float()
    shift = torch.tensor(np.array(shifts), dtype=torch.float32)
    return visual.flatten(0, 1), audio.flatten(0, 1), *numbers, shift, true


def train_student(
    student: Student, teacher: VocaLiST, table: dict[str, Tensor], given: argparse.Namespace
) -> None:
    """The method's losses on pairs, half of them in sync, the others up to 15 frames off."""
    rng = np.random.default_rng(1000 + given.seed)
    layers = tuple(f"{encoder}{i}" for encoder in ("fusion", "av", "va") for i in range(1, LAYERS + 1))
    weighting = Weighting("uw25" if given.method == "mtd" else "uniform", tasks(given.method, layers))
    learning = [p for p in (*student.parameters(), *weighting.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=given.rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
    student.train()
    for step in range(given.steps):
        set_rate(optimizer, given, step)
        visual, audio, labels = pairs(teacher, table, rng)
        compare = given.method == "mtd"
        with torch.autocast("cpu", torch.bfloat16):
            ours = student(visual, audio, [] if compare else None)
            with torch.no_grad():
                theirs = outputs(teacher, visual, audio, [] if compare else None)
        found = {"bce": losses.bce(ours.logits, labels)}
        if given.method == "kd":
            found["kd"] = KD_WEIGHT * losses.kd(ours.logits, theirs.logits, TEMPERATURE)
        if compare:
            found |= losses.map_losses(ours.maps, theirs.maps, layers)
        update(optimizer, weighting(found), learning, step, given.name)


def tasks(method: str, layers: tuple[str, ...]) -> list[str]:
    return task_names(method, layers) if method == "mtd" else task_names(method)


def pairs(
    network: VocaLiST, table: dict[str, Tensor], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of PAIRS pairs (n, 5, d) and (n, 16, d), and their labels (n,)."""
    per_run = 16
    chosen = rng.choice(len(table["lengths"]), PAIRS // per_run, replace=False)
    lengths = table["lengths"][chosen].numpy()
    present = torch.from_numpy(np.arange(LENGTH) < lengths[:, None])
    visual, audio = tokens(network, table["frames"][chosen], table["columns"][chosen], present)
    run = np.repeat(np.arange(len(chosen)), per_run)
    windows = (lengths - WINDOW_FRAMES + 1)[run]
    at = rng.integers(windows)
    off = rng.integers(1, RADIUS + 1, len(run)) * rng.choice([-1, 1], len(run))
    off = np.where((at + off < 0) | (at + off >= windows), -off, off)
    labels = np.tile([1, 0], len(run) // 2)
    other = np.clip(np.where(labels == 1, at, at + off), 0, windows - 1)
    labels = (other == at).astype(np.float32)
    return visual[run, at], audio[run, other], torch.from_numpy(labels)


def set_rate(optimizer: torch.optim.Optimizer, given: argparse.Namespace, step: int) -> None:
    rise = min(1, (step + 1) / (WARMUP * given.steps))
    for group in optimizer.param_groups:
        group["lr"] = given.rate * rise * (0.5 + 0.5 * math.cos(math.pi * step / given.steps))


def update(
    optimizer: torch.optim.Optimizer, loss: Tensor, learning: list[nn.Parameter], step: int, name: str
) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(learning, CLIP_NORM)
    optimizer.step()
    if step % 50 == 49:
        print(f"{name} step {step + 1}: loss {loss.item():.3f}", flush=True)


@torch.no_grad()
def right(score: Any, network: VocaLiST, clip: dict[str, Tensor]) -> tuple[float, float]:
    """Of a clip's first windows, % within a frame at K=5 and K=15, candidates that exist."""
    frames = clip["frames"][: LONGEST + WINDOW_FRAMES - 1][None]
    present = torch.ones(frames.shape[:2], dtype=torch.bool)
    visual, audio = tokens(network, frames, clip["columns"][None], present)
    windows = visual.shape[1]
    index = np.arange(windows)[:, None] + np.arange(-RADIUS, RADIUS + 1)
    rows, shifts = np.nonzero((index >= 0) & (index < windows))
    matrix: npt.NDArray[np.float32] = np.full(index.shape, np.nan, np.float32)
    numbers = (torch.from_numpy(i) for i in (rows, index[rows, shifts]))
    with torch.autocast("cpu", torch.bfloat16):
        matrix[rows, shifts] = score(visual[0], audio[0], *numbers).float().numpy()
    k5, k15 = (float(existing_hits(matrix, k).mean() * 100) for k in (5, 15))
    return k5, k15


if __name__ == "__main__":
    main()
