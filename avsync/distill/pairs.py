"""The objective on pairs: the paper's method and those it is compared with.

The losses of a method are combined by a `Weighting`; student, weights and FitNets' map train together in one
`PairObjective`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avsync.core.errors import ModelError
from avsync.distill import losses
from avsync.distill.losses import Outputs
from avsync.distill.methods import METHODS, MINILM_LAYERS, task_names
from avsync.distill.settings import Losses
from avsync.distill.weighting import Weighting
from avsync.networks.attention import Maps
from avsync.networks.base import Network
from avsync.networks.checkpoint import Loaded
from avsync.networks.dims import Dims
from avsync.networks.registry import AnyDims
from avsync.networks.syncnet import SyncNetDims
from avsync.networks.vocalist import VocaLiST


def run(model: Network, frames: Tensor, audio: Tensor, maps: bool) -> Outputs:
    """A forward pass that keeps what the losses need; attention maps only if asked for. A network without
    cross-modal encoders gives its logits only."""
    if not isinstance(model, VocaLiST) or not model.dims.layers:
        return Outputs(model(frames, audio))
    kept: Maps | None = [] if maps else None
    outputs = model.pair_outputs(model.visual_tokens(frames), model.audio_tokens(audio), kept)
    return Outputs(outputs.logits, (outputs.fused, outputs.av, outputs.va), tuple(kept or ()))


@torch.no_grad()
def teach(teacher: Network, frames: Tensor, audio: Tensor, maps: bool) -> Outputs:
    """The frozen teacher's outputs."""
    return run(teacher, frames, audio, maps)


def method_losses(
    student: Outputs, teacher: Outputs, settings: Losses, projection: nn.Module | None = None
) -> dict[str, Tensor]:
    """A method's losses by task, except that of the labels. `projection`: FitNets' linear map."""
    match settings.method:
        case "mtd" | "nmtd" | "minilm":
            last_only = settings.method == "minilm"
            return losses.map_losses(
                student.maps,
                teacher.maps,
                MINILM_LAYERS if last_only else settings.layers,
                losses.TERMS if last_only else settings.terms,
                settings.kl,
                settings.kl_reduction,
                settings.va_clamp,
            )
        case "kd":
            return {
                "kd": losses.kd(student.logits, teacher.logits, settings.kd_temperature, settings.kd_target)
            }
        case "rkd":
            ours, theirs = student.last[0].amax(1), teacher.last[0].amax(1)
            distance = losses.rkd_distance(ours, theirs, settings.rkd_mean)
            return {
                "rkd_distance": settings.rkd_distance * distance,
                "rkd_angle": settings.rkd_angle * losses.rkd_angle(ours, theirs),
            }
        case "fitnets":
            assert projection is not None  # noqa: S101 (made with the objective)
            return {"hint": settings.hint_weight * fitnets(student, teacher, settings, projection)}
    return {}


def fitnets(student: Outputs, teacher: Outputs, settings: Losses, projection: nn.Module) -> Tensor:
    """Squared error between the encoders' outputs, one side through the linear map."""
    encoders = 1 if settings.hint_encoders == "fusion" else 3
    sides = zip(student.last[:encoders], teacher.last[:encoders], strict=True)
    if settings.hint_side == "student":
        return torch.stack([losses.hint(projection(ours), theirs) for ours, theirs in sides]).sum()
    return torch.stack([losses.hint(ours, projection(theirs)) for ours, theirs in sides]).sum()


def objective_tasks(dims: AnyDims, settings: Losses) -> list[str]:
    """Names of the tasks that a network of `dims` learns, beginning with that of the labels."""
    if uses_distance(dims):
        return ["contrastive"]
    return task_names(settings.method, settings.layers, settings.terms)


def uses_distance(dims: object) -> bool:
    """Whether a network learns with the contrastive loss on distances rather than with cross-entropy."""
    return isinstance(dims, SyncNetDims) and dims.family == "syncnet"


class PairObjective(nn.Module):
    """The student and everything that learns with it. The forward pass returns the losses, so that
    DistributedDataParallel sees one module."""

    def __init__(self, student: Network, settings: Losses, teacher: Dims | None) -> None:
        super().__init__()
        self.student, self.settings = student, settings
        self.maps = METHODS[settings.method].maps
        self.weighting = Weighting(
            settings.weighting, objective_tasks(student.dims, settings), settings.weights
        )
        self.projection: nn.Module | None = None
        if settings.method == "fitnets" and teacher is not None:
            ours, theirs = student.dims.d_model, teacher.d_model
            from_student = settings.hint_side == "student"
            self.projection = nn.Linear(ours, theirs) if from_student else nn.Linear(theirs, ours)

    def forward(
        self, frames: Tensor, audio: Tensor, labels: Tensor, teacher: Outputs | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and the losses by task. `teacher`: its outputs on the same pairs."""
        ours = run(self.student, frames, audio, self.maps)
        if uses_distance(self.student.dims):
            margin = self.student.dims.margin
            tasks = {"contrastive": losses.contrastive(margin / 2 - ours.logits, labels, margin)}
        else:
            tasks = {"bce": losses.bce(ours.logits, labels)}
        if teacher is not None:
            tasks |= method_losses(ours, teacher, self.settings, self.projection)
        return self.weighting(tasks), tasks


def check_teacher(teacher: AnyDims, student: AnyDims, method: str) -> None:
    """Raise ModelError if the teacher's maps cannot be compared with the student's."""
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
    """Raise ModelError if a teacher has no embeddings to teach with."""
    if not isinstance(teacher.model, VocaLiST) or teacher.model.contrast is None:
        raise ModelError(
            f"{teacher.path} has no contrast head, so it cannot teach with objective: dense; train one "
            "with: avsync train --arch dual."
        )
