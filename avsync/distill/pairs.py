"""What one step minimises on pairs: the paper's method and those it is compared with.

A method is one entry of METHODS: which losses it makes of the two networks' outputs. The losses are
combined by a `Weighting`; student, weights and FitNets' map train together in one `PairObjective`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from avsync.core.errors import ModelError, UsageError
from avsync.distill import losses
from avsync.distill.losses import LAYERS, Outputs
from avsync.distill.weighting import LEARNED, Weighting
from avsync.networks.base import Network
from avsync.networks.registry import AnyDims
from avsync.networks.syncnet import SyncNetDims
from avsync.networks.vocalist import Dims, Maps, VocaLiST

if TYPE_CHECKING:
    from avsync.distill.recipe import Recipe
    from avsync.networks.checkpoint import Loaded

MINILM_LAYERS = ("fusion4",)
"""MiniLM* distils the last layer only."""


@dataclass(frozen=True)
class Method:
    """`make` gives the losses by task from (student, teacher, recipe, FitNets' map); `maps`: whether it
    looks at attention maps; `learned`: whether the paper's form of it learns the weights."""

    make: Callable[[Outputs, Outputs, Recipe, nn.Module | None], dict[str, Tensor]]
    teacher: bool = True
    maps: bool = False
    learned: bool = False


def _none(*_: object) -> dict[str, Tensor]:
    return {}


def _maps(student: Outputs, teacher: Outputs, recipe: Recipe, _: nn.Module | None) -> dict[str, Tensor]:
    return losses.map_losses(student.maps, teacher.maps, recipe.layers, recipe.terms, recipe.kl)


def _minilm(student: Outputs, teacher: Outputs, recipe: Recipe, _: nn.Module | None) -> dict[str, Tensor]:
    return losses.map_losses(student.maps, teacher.maps, MINILM_LAYERS, losses.TERMS, recipe.kl)


def _kd(student: Outputs, teacher: Outputs, recipe: Recipe, _: nn.Module | None) -> dict[str, Tensor]:
    return {"kd": losses.kd(student.logits, teacher.logits, recipe.kd_temperature)}


def _rkd(student: Outputs, teacher: Outputs, recipe: Recipe, _: nn.Module | None) -> dict[str, Tensor]:
    ours, theirs = student.fused.amax(1), teacher.fused.amax(1)
    return {
        "rkd_distance": recipe.rkd_distance * losses.rkd_distance(ours, theirs),
        "rkd_angle": recipe.rkd_angle * losses.rkd_angle(ours, theirs),
    }


def _fitnets(
    student: Outputs, teacher: Outputs, recipe: Recipe, regressor: nn.Module | None
) -> dict[str, Tensor]:
    assert regressor is not None  # noqa: S101
    return {"hint": recipe.hint_weight * losses.hint(regressor(student.fused), teacher.fused)}


METHODS: dict[str, Method] = {
    "mtd": Method(_maps, maps=True, learned=True),
    "nmtd": Method(_maps, maps=True),
    "kd": Method(_kd),
    "rkd": Method(_rkd),
    "minilm": Method(_minilm, maps=True),
    "fitnets": Method(_fitnets),
    "bce": Method(_none, teacher=False),
}


def run(model: Network, frames: Tensor, mels: Tensor, maps: bool) -> Outputs:
    """One forward pass that keeps what the losses need; attention maps only when asked. A network without
    cross-modal encoders leaves its logits and nothing else."""
    if not isinstance(model, VocaLiST) or not model.dims.layers:
        logits = model(frames, mels)
        return Outputs(logits, logits.new_zeros(len(logits), 0, 0))
    kept: Maps | None = [] if maps else None
    visual, audio = model.visual_tokens(frames), model.audio_tokens(mels)
    heard = model.av_transformer(audio, visual, kept)
    seen = model.va_transformer(visual, audio, kept)
    fused = model.fuse(heard, seen, kept)
    logits = model.head(fused)
    if model.contrast is not None:
        similarity = model.contrast.embed_visual(visual) * model.contrast.embed_audio(audio)
        logits = logits + similarity.sum(-1)
    return Outputs(logits, fused, tuple(kept or ()))


@torch.no_grad()
def teach(teacher: Network, frames: Tensor, mels: Tensor, recipe: Recipe) -> Outputs:
    """The frozen teacher's outputs."""
    return run(teacher, frames, mels, METHODS[recipe.method].maps)


def task_names(recipe: Recipe) -> list[str]:
    """Names of the tasks that the losses of a recipe come under, the one of the labels first."""
    if uses_distance(recipe.student):
        return ["contrastive"]
    named = {
        "kd": ["kd"],
        "rkd": ["rkd_distance", "rkd_angle"],
        "fitnets": ["hint"],
        "bce": [],
        "minilm": [f"{layer}_{term}" for layer in MINILM_LAYERS for term in losses.TERMS],
    }
    by_map = [f"{layer}_{term}" for layer in recipe.layers for term in recipe.terms]
    return ["bce", *named.get(recipe.method, by_map)]


def uses_distance(dims: object) -> bool:
    """Whether a network learns by the contrastive loss on distances rather than by cross-entropy."""
    return isinstance(dims, SyncNetDims) and dims.family == "syncnet"


class PairObjective(nn.Module):
    """The student and everything that learns with it; its forward pass gives the losses, so that
    DistributedDataParallel sees one module."""

    def __init__(self, student: Network, recipe: Recipe, teacher: Dims | None) -> None:
        super().__init__()
        self.student, self.recipe = student, recipe
        self.weighting = Weighting(recipe.weighting, task_names(recipe), recipe.weights)
        needs_map = recipe.method == "fitnets" and teacher is not None
        self.regressor = nn.Linear(student.dims.d_model, teacher.d_model) if needs_map and teacher else None

    def forward(
        self, frames: Tensor, mels: Tensor, labels: Tensor, taught: Outputs | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and the losses by task."""
        method = METHODS[self.recipe.method]
        ours = run(self.student, frames, mels, method.maps)
        if uses_distance(self.student.dims):
            margin = self.student.dims.margin
            tasks = {"contrastive": losses.contrastive(margin / 2 - ours.logits, labels, margin)}
        else:
            tasks = {"bce": losses.bce(ours.logits, labels)}
        if taught is not None:
            tasks |= method.make(ours, taught, self.recipe, self.regressor)
        return self.weighting(tasks), tasks


def check_teacher(teacher: AnyDims, student: AnyDims, method: str) -> None:
    """Raise ModelError where the teacher's maps cannot be matched with the student's."""
    if not isinstance(teacher, Dims) or not isinstance(student, Dims) or not teacher.layers:
        raise ModelError(
            f"--method {method} needs a teacher of VocaLiST's family, with cross-modal encoders."
        )
    if METHODS[method].maps and (teacher.heads, teacher.layers) != (student.heads, student.layers):
        raise ModelError(
            f"The teacher has {teacher.layers} layers of {teacher.heads} heads, the student "
            f"{student.layers} of {student.heads}; --method {method} compares them map by map, "
            f"so give the student the same."
        )


def check_dense_teacher(teacher: Loaded) -> None:
    """Raise ModelError where a teacher has no embeddings to teach by."""
    if not isinstance(teacher.model, VocaLiST) or teacher.model.contrast is None:
        raise ModelError(
            f"{teacher.path} has no contrast head, so it cannot teach with objective: dense; train one "
            "with: avsync train --arch dual."
        )


def check_method(recipe: Recipe) -> None:
    """Raise UsageError where method, weighting, layers or terms do not fit together."""
    if recipe.method not in METHODS:
        raise UsageError(f"There is no method {recipe.method!r}; choose one of {', '.join(METHODS)}.")
    learned = recipe.weighting in LEARNED
    if METHODS[recipe.method].learned != learned:
        fitting = ", ".join(LEARNED) if METHODS[recipe.method].learned else "uniform, manual"
        raise UsageError(
            f"--method {recipe.method} cannot be weighted by {recipe.weighting}; choose one of {fitting}."
        )
    if unknown := sorted(set(recipe.weights) - set(task_names(recipe))):
        raise UsageError(
            f"The weights name {unknown[0]!r}, which is no task; tasks are {', '.join(task_names(recipe))}."
        )


def parse_layers(text: str) -> tuple[str, ...]:
    """ "all", or a list such as "fusion4,av1", or a whole encoder such as "fusion" -> layer names."""
    chosen: list[str] = []
    for word in text.replace(" ", "").split(","):
        fitting = [name for name in LAYERS if word in ("all", name, name[:-1])]
        if not fitting:
            raise UsageError(f"There is no layer {word!r}; choose from {', '.join(LAYERS)}, or all.")
        chosen += fitting
    return tuple(name for name in LAYERS if name in chosen)


def parse_terms(text: str) -> tuple[str, ...]:
    """ "cad,vr" -> ("cad", "vr")."""
    words = text.replace(" ", "").lower().split(",")
    if unknown := [w for w in words if w not in losses.TERMS]:
        raise UsageError(f"There is no term {unknown[0]!r}; choose from {', '.join(losses.TERMS)}.")
    return tuple(term for term in losses.TERMS if term in words)
