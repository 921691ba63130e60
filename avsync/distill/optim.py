"""Optimiser, learning-rate schedules and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from avsync.distill.recipe import Recipe

FINAL_SHARE = 0.03
"""Of the learning rate, what the cosine schedule ends at."""
FRONT_ENDS = ("vid_prenet", "aud_prenet", "vid_mixer", "contrast", "auxiliary")
"""Parts whose learning rate `dense.front_lr` scales."""


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam or AdamW over everything that learns, the weights of the tasks included."""
    front, rest = [], []
    for name, parameter in module.named_parameters():
        (front if any(part in name for part in FRONT_ENDS) else rest).append(parameter)
    # Embeddings alone train the front-ends at the full rate; with the encoders beside them, at a share.
    share = recipe.dense.front_lr if recipe.objective == "dense" and recipe.dense.anchors else 1.0
    groups = [{"params": p, "share": s} for p, s in ((front, share), (rest, 1.0)) if p]
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def learning_rate(recipe: Recipe, epoch: float, progress: float) -> float:
    """The rate at a point of training: `epoch` counts from 0 and has a fraction, `progress` is the
    share of the whole run that is done.

    "authors": a linear warm-up, then x `decay` every `decay_epochs`. "cosine": the same warm-up, then
    half a cosine down to 3 %.
    """
    warm = min(1.0, (epoch + 1e-9) / recipe.warmup_epochs) if recipe.warmup_epochs else 1.0
    if recipe.schedule == "constant":
        return recipe.lr * warm
    if recipe.schedule == "cosine":
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return recipe.lr * warm * (FINAL_SHARE + (1 - FINAL_SHARE) * wave)
    steps = max(0.0, epoch - recipe.warmup_epochs) // recipe.decay_epochs
    return recipe.lr * warm * recipe.decay**steps


@torch.no_grad()
def update_average(
    average: Iterable[torch.Tensor], current: Iterable[torch.Tensor], decay: float, step: int
) -> None:
    """Move the running average towards the current state; early steps count more."""
    share = 1 - min(decay, step / (step + 20))
    for old, new in zip(average, current, strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new.to(old.dtype), share)
        else:
            old.copy_(new)
