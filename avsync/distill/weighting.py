"""Combine the losses of the tasks into one: fixed weights, automatic (softmax) or by uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Kind = Literal["uniform", "manual", "aw13", "aw25", "uw13", "uw25"]
KINDS: tuple[str, ...] = get_args(Kind)
LEARNED: tuple[str, ...] = tuple(kind for kind in KINDS if kind[:2] in ("aw", "uw"))


def weight_groups(tasks: Sequence[str], kind: str) -> dict[str, list[str]]:
    """Which tasks share a weight: in the "13" kinds, CAD and VR of one layer."""
    groups: dict[str, list[str]] = {}
    for task in tasks:
        shared = task.removesuffix("_cad").removesuffix("_vr") if kind.endswith("13") else task
        groups.setdefault(shared, []).append(task)
    return groups


class Weighting(nn.Module):
    """Combines the losses of `tasks` into one scalar; the learned kinds hold their weights w.

    uniform: sum of L. manual: sum of m L with `manual` weights (1 where not named). aw: sum of
    softmax(w) L. uw: sum of L / (2 w^2) + ln(1 + w^2), w starting at 1.
    """

    def __init__(self, kind: str, tasks: Sequence[str], manual: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.groups = weight_groups(tasks, kind)
        self.manual = {task: float((manual or {}).get(task, 1.0)) for task in tasks}
        self.w = nn.Parameter(torch.ones(len(self.groups))) if kind in LEARNED else None

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Scalar losses by task name -> the scalar to minimise."""
        if self.w is None:
            factors = self.manual if self.kind == "manual" else dict.fromkeys(losses, 1.0)
            return torch.stack([factors[task] * loss for task, loss in losses.items()]).sum()
        grouped = torch.stack(
            [torch.stack([losses[t] for t in members]).sum() for members in self.groups.values()]
        )
        if self.kind.startswith("aw"):
            return (self.w.softmax(0) * grouped).sum()
        return (grouped / (2 * self.w**2) + torch.log1p(self.w**2)).sum()

    def factors(self) -> dict[str, float]:
        """The current factor of each group's loss."""
        if self.w is None:
            return self.manual if self.kind == "manual" else dict.fromkeys(self.groups, 1.0)
        w = self.w.detach()
        values = w.softmax(0) if self.kind.startswith("aw") else 1 / (2 * w**2)
        return dict(zip(self.groups, values.tolist(), strict=True))
