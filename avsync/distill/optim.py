"""Optimiser, learning-rate schedules and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from avsync.distill.settings import Optimiser, Schedule

FINAL_SHARE = 0.03
"""Share of the learning rate at the end of the cosine schedule."""
FRONT_ENDS = ("vid_prenet", "aud_prenet", "vid_mixer", "contrast", "auxiliary")
"""Parts whose learning rate `dense.front_lr` scales."""


def make_optimizer(module: nn.Module, settings: Optimiser, front_share: float = 1.0) -> torch.optim.Optimizer:
    """Adam or AdamW over all parameters that learn, including the weights of the tasks; the front-ends learn
    at `front_share` of the rate."""
    front, rest = [], []
    for name, parameter in module.named_parameters():
        (front if any(part in name for part in FRONT_ENDS) else rest).append(parameter)
    groups = [{"params": p, "share": s} for p, s in ((front, front_share), (rest, 1.0)) if p]
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    fused = all(p.device.type == "cuda" for p in (*front, *rest))  # one kernel for all tensors
    return kind(
        groups, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=fused or None
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def learning_rate(lr: float, schedule: Schedule, done: int, epoch_steps: int, total: int) -> float:
    """The rate of the step after `done` of `total` steps, with `epoch_steps` per epoch.

    "authors": a linear warm-up, then x `decay` every `decay_epochs`; with `warmup: epochs` the rate changes
    at the beginning of an epoch only. "cosine": the same warm-up, then half a cosine down to 3 %.
    """
    epoch = done / epoch_steps
    if schedule.warmup == "epochs":
        epoch = done // epoch_steps + 1  # the authors' scheduler counts the current epoch as done
    warm = min(1.0, (epoch + 1e-9) / schedule.warmup_epochs) if schedule.warmup_epochs else 1.0
    if schedule.shape == "constant":
        return lr * warm
    if schedule.shape == "cosine":
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, done / max(1, total))))
        return lr * warm * (FINAL_SHARE + (1 - FINAL_SHARE) * wave)
    falls = max(0.0, epoch - schedule.warmup_epochs) // schedule.decay_epochs
    return lr * warm * schedule.decay**falls


@torch.no_grad()
def update_average(
    average: Iterable[torch.Tensor], current: Iterable[torch.Tensor], decay: float, step: int
) -> None:
    """Move the running average towards the current state, faster in early steps."""
    share = 1 - min(decay, step / (step + 20))
    for old, new in zip(average, current, strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new.to(old.dtype), share)
        else:
            old.copy_(new)
