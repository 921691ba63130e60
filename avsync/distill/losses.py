"""Distillation losses: each turns the networks' outputs into one or more named scalars.

A map is a probability distribution over keys: CAD (cross-attention distribution) is the softmax of
QK^T / sqrt(d_head), VR (value relation) that of VV^T / sqrt(d_head). The loss of a map is a
Kullback-Leibler divergence between student and teacher.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from avsync.networks.attention import Attention

Direction = Literal["student-teacher", "teacher-student"]
Reduction = Literal["sum", "mean"]
KdTarget = Literal["sigmoid", "batch"]
RkdMean = Literal["pairs", "matrix"]
HintSide = Literal["student", "teacher"]

TERMS: tuple[str, ...] = ("cad", "vr")
LAYERS: tuple[str, ...] = tuple(f"{encoder}{i}" for encoder in ("fusion", "av", "va") for i in range(1, 5))
"""Names of the layers whose maps can be distilled, in the order of the paper's tasks."""


class Outputs(NamedTuple):
    """What the losses need of a forward pass: `logits` (batch,); `last`, each encoder's output (batch,
    tokens, d) for fusion, AV, VA, empty for networks without encoders; `maps`, one entry per layer, empty
    unless asked for."""

    logits: Tensor
    last: tuple[Tensor, ...] = ()
    maps: tuple[Attention, ...] = ()


def log_cad(logits: Tensor) -> Tensor:
    """Attention logits (..., queries, keys), -inf where masked -> log of the cross-attention distribution."""
    return logits.float().log_softmax(-1)


def log_vr(values: Tensor) -> Tensor:
    """Values (..., keys, d_head) -> log of the value relation (..., keys, keys)."""
    values = values.float()
    return (values @ values.transpose(-2, -1) * values.shape[-1] ** -0.5).log_softmax(-1)


def log_map(term: str, layer: Attention, va_clamp: float | None = None) -> Tensor:
    """The log of a layer's map, (batch, heads, rows, keys)."""
    if term == "vr":
        return log_vr(layer.values)
    if va_clamp is not None and layer.name.startswith("va"):
        return log_cad(layer.logits.clamp_min(va_clamp))
    return log_cad(layer.logits)


def row_divergence(student: Tensor, teacher: Tensor, direction: Direction = "student-teacher") -> Tensor:
    """KL between two maps of log-probabilities (..., rows, keys), summed over keys: (..., rows).
    "student-teacher" is KL(student || teacher). Masked keys (-inf) contribute 0."""
    p, q = (student, teacher) if direction == "student-teacher" else (teacher, student)
    # 0 * (-inf - -inf) is NaN, also in the gradient, so masked entries are replaced first.
    visible = torch.isfinite(p) & torch.isfinite(q)
    p, q = p.masked_fill(~visible, 0.0), q.masked_fill(~visible, 0.0)
    return (p.exp() * (p - q) * visible).sum(-1)


def divergence(
    student: Tensor,
    teacher: Tensor,
    direction: Direction = "student-teacher",
    reduction: Reduction = "sum",
) -> Tensor:
    """The loss of one map: `row_divergence` averaged over batch, heads and rows; with the reduction "mean"
    also over the keys."""
    loss = row_divergence(student, teacher, direction).mean()
    return loss / student.shape[-1] if reduction == "mean" else loss


def map_losses(
    student: Iterable[Attention],
    teacher: Iterable[Attention],
    layers: Iterable[str] = LAYERS,
    terms: Iterable[str] = TERMS,
    direction: Direction = "student-teacher",
    reduction: Reduction = "sum",
    va_clamp: float | None = None,
) -> dict[str, Tensor]:
    """One divergence per layer and term, named "fusion1_cad", in the order of `layers`. Layers whose maps
    have the same shape are computed in one operation."""
    ours, theirs = ({layer.name: layer for layer in maps} for maps in (student, teacher))
    names, terms = tuple(layers), tuple(terms)
    found: dict[str, Tensor] = {}
    for term in terms:
        for group in _alike(names, ours, term):
            p, q = (
                log_map(term, _stacked([maps[name] for name in group]), va_clamp) for maps in (ours, theirs)
            )
            rows = row_divergence(p, q, direction).flatten(1).mean(1)
            rows = rows / p.shape[-1] if reduction == "mean" else rows
            found |= {f"{name}_{term}": loss for name, loss in zip(group, rows.unbind(), strict=True)}
    return {f"{name}_{term}": found[f"{name}_{term}"] for name in names for term in terms}


def _alike(names: Sequence[str], maps: Mapping[str, Attention], term: str) -> list[list[str]]:
    """The layers in groups of equal shape; VA's form their own groups, since they may be clamped."""
    groups: dict[object, list[str]] = {}
    for name in names:
        shape = (maps[name].logits if term == "cad" else maps[name].values).shape
        groups.setdefault((shape, name.startswith("va")), []).append(name)
    return list(groups.values())


def _stacked(layers: Sequence[Attention]) -> Attention:
    """Layers of equal shape stacked along a new first axis."""
    logits = torch.stack([layer.logits for layer in layers])
    return Attention(layers[0].name, logits, torch.stack([layer.values for layer in layers]))


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits (batch,) against labels 0 or 1."""
    return F.binary_cross_entropy_with_logits(logits.float(), labels.float())


def contrastive(distances: Tensor, labels: Tensor, margin: float) -> Tensor:
    """SyncNet's contrastive loss of pairs (n,): half the mean squared distance of pairs in sync, and half the
    mean squared shortfall below the margin of pairs out of sync."""
    near = distances.float() ** 2
    far = (margin - distances.float()).clamp_min(0) ** 2
    return torch.where(labels == 1, near, far).mean() / 2


def kd(student: Tensor, teacher: Tensor, temperature: float, target: KdTarget = "sigmoid") -> Tensor:
    """Hinton's soft targets for a classifier with ONE logit: the two-class KL between sigmoids at
    `temperature`, times its square to keep the scale of the gradient. "batch": the KL between softmaxes over
    the batch, divided by its size, as in the authors' code."""
    ours, theirs = student.float() / temperature, teacher.float() / temperature
    if target == "batch":
        log_q = theirs.log_softmax(0)
        return (log_q.exp() * (log_q - ours.log_softmax(0))).sum() / len(ours) * temperature**2
    soft = torch.sigmoid(theirs)
    cross = F.binary_cross_entropy_with_logits(ours, soft)
    entropy = F.binary_cross_entropy(soft, soft)
    return (cross - entropy) * temperature**2


def _relative_distances(x: Tensor) -> Tensor:
    """(batch, d) -> distances of all pairs (batch * (batch - 1) / 2,), scaled to a mean of 1."""
    distances = F.pdist(x)
    return distances / distances.mean().clamp_min(1e-12)


def rkd_distance(student: Tensor, teacher: Tensor, mean: RkdMean = "pairs") -> Tensor:
    """Relational KD, distances: Huber loss between the normalised pairwise distances of two sets of
    representations (batch, d_student) and (batch, d_teacher). "matrix" averages over the zero diagonal too,
    which gives (batch - 1) / batch of the mean over pairs."""
    loss = F.smooth_l1_loss(_relative_distances(student.float()), _relative_distances(teacher.float()))
    return loss * (len(student) - 1) / len(student) if mean == "matrix" else loss


def _angles(x: Tensor) -> Tensor:
    """(batch, d) -> cosine of the angle at every i between j and k, (batch, batch, batch)."""
    directions = F.normalize(x[None] - x[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Relational KD, angles: Huber loss between the cosines of all triples."""
    return F.smooth_l1_loss(_angles(student.float()), _angles(teacher.float()))


def hint(projected: Tensor, teacher: Tensor) -> Tensor:
    """FitNets: mean squared error between the student's representation, already mapped to the
    teacher's width, and the teacher's."""
    return F.mse_loss(projected.float(), teacher.float())
