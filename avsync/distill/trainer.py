"""The state of a training run: how it is saved and restored, and how its best network is kept."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from avsync.core.errors import AvsyncError
from avsync.core.files import disk_errors
from avsync.distill.checkpoint import save_state
from avsync.distill.distributed import World, spread
from avsync.distill.optim import make_optimizer
from avsync.distill.recipe import Recipe, to_plain
from avsync.distill.tasks import Task
from avsync.networks.checkpoint import save
from avsync.networks.frozen import channels_last

BEST = "best.safetensors"


class TrainingError(AvsyncError):
    """Training cannot continue; the last good checkpoint is kept."""


@dataclass
class Progress:
    """Position in a run: the next step is `step` of `epoch`; `done` counts all steps."""

    epoch: int = 0
    step: int = 0
    done: int = 0
    best: float = -1.0
    seconds: float = 0.0
    total: int = 0
    """Number of steps of the run, fixed when it begins."""


@dataclass
class Trainer:
    """The state of a run. `module` is the objective as called (wrapped for several processes); `average` is
    its running average, or None."""

    recipe: Recipe
    task: Task
    folder: Path
    device: torch.device
    world: World
    card: dict[str, Any]
    """Written to the checkpoints' cards."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Plain values that the caller gets back on resume."""
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        objective = self.task.objective.to(self.device)
        if self.recipe.machine.channels_last:
            channels_last(objective)
        module = spread(objective) if self.world.size > 1 else objective
        self.optimizer = make_optimizer(objective, self.recipe.optimiser, front_share(self.recipe))
        self.average = copy.deepcopy(objective).eval() if self.recipe.optimiser.ema else None
        self.module: nn.Module = module
        if self.recipe.machine.compile:
            self.compile()

    def compile(self) -> None:
        """Compile student, losses and teacher."""
        self.module.compile()
        self.task.compile()

    @property
    def best_model(self) -> nn.Module:
        """The objective that is validated and saved."""
        return self.average or self.task.objective

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs, as tensors and plain values."""
        return {
            "recipe": to_plain(self.recipe),
            "progress": vars(self.progress),
            "objective": self.task.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            **self.extra,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state."""
        self.task.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.progress = Progress(**state["progress"])

    def save(self) -> None:
        """Write the checkpoint to resume from (the first process only).

        Raises TrainingError rather than replace a good checkpoint by one with NaNs.
        """
        if not all(bool(torch.isfinite(p).all()) for p in self.task.objective.parameters()):
            raise TrainingError(
                f"The weights are no longer numbers after step {self.progress.done}, so training stopped; "
                f"start again with a lower lr or clip_norm; {self.folder} keeps the last good checkpoint."
            )
        if self.world.first:
            save_state(self.folder, self.state())


def front_share(recipe: Recipe) -> float:
    """The front-ends' share of the learning rate: the full rate if only embeddings learn."""
    return recipe.dense.front_lr if recipe.objective == "dense" and recipe.dense.anchors else 1.0


def keep_best(trainer: Trainer, figures: dict[str, float]) -> None:
    """Write the current student as `best.safetensors`, with its figures in the card."""
    student: Any = trainer.best_model.get_submodule("student")
    steps = {"steps": trainer.progress.done, "seconds": round(trainer.progress.seconds, 1)}
    card = {**trainer.card, "validation": {k: round(v, 5) for k, v in figures.items()}, **steps}
    then = f"training stopped: free some space and resume with --resume {trainer.folder}"
    with disk_errors(trainer.folder, then):
        save(trainer.folder / BEST, student, trainer.recipe.network.preprocessing, card)
