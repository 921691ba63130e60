"""Distillation losses: each turns what the networks gave into one or more named scalars.

A map is a probability distribution over keys: CAD (cross-attention distribution) is the softmax of
QK^T / sqrt(d_head), VR (value relation) that of VV^T / sqrt(d_head). The loss of a map is a
Kullback-Leibler divergence between student and teacher.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from avsync.networks.vocalist import Attention

Direction = Literal["student-teacher", "teacher-student"]
Term = Literal["cad", "vr"]

TERMS: tuple[str, ...] = ("cad", "vr")
LAYERS: tuple[str, ...] = tuple(f"{encoder}{i}" for encoder in ("fusion", "av", "va") for i in range(1, 5))
"""Names of the layers whose maps can be distilled, in the order of the paper's tasks."""


class Outputs(NamedTuple):
    """What one forward pass leaves for the losses: `logits` (batch,), `fused` (batch, tokens, d)
    the last layer's representation, `maps` one entry a layer (empty unless asked for)."""

    logits: Tensor
    fused: Tensor
    maps: tuple[Attention, ...] = ()


def log_cad(layer: Attention) -> Tensor:
    """Log of the cross-attention distribution, (batch, heads, queries, keys), -inf where masked."""
    return layer.logits.float().log_softmax(-1)


def log_vr(layer: Attention) -> Tensor:
    """Log of the value relation, (batch, heads, keys, keys)."""
    values = layer.values.float()
    return (values @ values.transpose(-2, -1) * values.shape[-1] ** -0.5).log_softmax(-1)


LOG_MAPS = {"cad": log_cad, "vr": log_vr}


def divergence(student: Tensor, teacher: Tensor, direction: Direction = "student-teacher") -> Tensor:
    """KL between two maps of log-probabilities (..., rows, keys): summed over keys, averaged over
    everything else. "student-teacher" is KL(student || teacher). Masked keys (-inf) count 0."""
    p, q = (student, teacher) if direction == "student-teacher" else (teacher, student)
    # 0 * (-inf - -inf) is NaN, also in the gradient, so the masked entries are taken out first.
    visible = torch.isfinite(p) & torch.isfinite(q)
    p, q = p.masked_fill(~visible, 0.0), q.masked_fill(~visible, 0.0)
    return (p.exp() * (p - q) * visible).sum(-1).mean()


def map_losses(
    student: Iterable[Attention],
    teacher: Iterable[Attention],
    layers: Iterable[str] = LAYERS,
    terms: Iterable[str] = TERMS,
    direction: Direction = "student-teacher",
) -> dict[str, Tensor]:
    """One divergence per layer and term, named "fusion1_cad", in the order of `layers`."""
    ours, theirs = ({layer.name: layer for layer in maps} for maps in (student, teacher))
    terms = tuple(terms)
    return {
        f"{name}_{term}": divergence(LOG_MAPS[term](ours[name]), LOG_MAPS[term](theirs[name]), direction)
        for name in layers
        for term in terms
    }


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits (batch,) against labels 0 or 1."""
    return F.binary_cross_entropy_with_logits(logits.float(), labels.float())


def contrastive(distances: Tensor, labels: Tensor, margin: float) -> Tensor:
    """SyncNet's loss of pairs (n,): half the mean of the squared distance where in sync, and of the square of
    what it lacks of the margin where not."""
    near = distances.float() ** 2
    far = (margin - distances.float()).clamp_min(0) ** 2
    return torch.where(labels == 1, near, far).mean() / 2


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Hinton's soft targets for a classifier with ONE logit: the two-class KL between sigmoids at
    `temperature`, times its square so that the gradient keeps its size."""
    target = torch.sigmoid(teacher.float() / temperature)
    cross = F.binary_cross_entropy_with_logits(student.float() / temperature, target)
    entropy = F.binary_cross_entropy(target, target)
    return (cross - entropy) * temperature**2


def _relative_distances(x: Tensor) -> Tensor:
    """(batch, d) -> distances of all pairs (batch * (batch - 1) / 2,), their mean scaled to 1."""
    distances = F.pdist(x)
    return distances / distances.mean().clamp_min(1e-12)


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Relational KD, distances: Huber loss between the normalised pairwise distances of two sets
    of representations (batch, d_student) and (batch, d_teacher)."""
    return F.smooth_l1_loss(_relative_distances(student.float()), _relative_distances(teacher.float()))


def _angles(x: Tensor) -> Tensor:
    """(batch, d) -> cosine of the angle at every i between j and k, (batch, batch, batch)."""
    directions = F.normalize(x[None] - x[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Relational KD, angles: Huber loss between the cosines at every triple."""
    return F.smooth_l1_loss(_angles(student.float()), _angles(teacher.float()))


def hint(projected: Tensor, teacher: Tensor) -> Tensor:
    """FitNets: mean squared error between the student's representation, already mapped to the
    teacher's width, and the teacher's."""
    return F.mse_loss(projected.float(), teacher.float())
