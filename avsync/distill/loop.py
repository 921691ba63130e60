"""The training loop: step, log, validate, keep the best network, and resume after any stop.

Inputs and random numbers of a step depend only on (seed, epoch, step), so a run that was killed and resumed
gives the same losses as one that was not.
"""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from avsync.core.errors import AvsyncError
from avsync.distill.distributed import anyone, mean_over_processes, share_first, share_of_mean, wait
from avsync.distill.inputs import Loader, tuned
from avsync.distill.monitor import Monitor
from avsync.distill.optim import learning_rate, set_rate, update_average
from avsync.distill.trainer import Trainer, TrainingError, keep_best

STAGES = ("teacher", "student", "backward", "optimiser")
"""Parts of a step; "student" is the student's forward pass and the losses."""
TIMED_STEPS = (2, 8)
"""First and last of the steps that are timed to turn minutes into steps."""


class Interrupted(AvsyncError):  # noqa: N818 - an answer rather than a failure
    """The user stopped the run; everything needed to resume is saved."""

    exit_code = 130


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that receives the signal when the run is asked to stop (Ctrl-C or SIGTERM), so that the current
    step is finished; a second Ctrl-C stops at once."""
    seen: list[int] = []

    def note(number: int, _: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    try:
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, where signals cannot be caught
        yield seen
        return
    try:
        yield seen
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """bf16 where `is_bf16`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_bf16(precision, device))


def is_bf16(precision: str, device: torch.device) -> bool:
    """Whether steps are computed in bf16; "auto" means on a GPU."""
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


def train(trainer: Trainer, monitor: Monitor | None) -> None:
    """Train to the end of the recipe.

    Raises:
        TrainingError: the loss is not a number; nothing bad was saved.
        Interrupted: the user stopped the run; it is saved.
        OutputError: the disk is full; the last checkpoint is kept.
    """
    progress, every, device = trainer.progress, trainer.recipe.validation.epochs, trainer.device
    with asked_to_stop() as stop, tuned(device), Loader(device, trainer.recipe.machine.loaders) as loader:
        while progress.done < progress.total:
            _epoch(trainer, monitor, loader, stop)
            progress.epoch, progress.step = progress.epoch + 1, 0
            if progress.epoch % every == 0 or progress.done >= progress.total:
                _validate(trainer, monitor)
            trainer.save()


def plan(trainer: Trainer) -> int:
    """The number of steps of a new run: those of its epochs, or as many as fit into the `minutes` set,
    estimated by timing a few steps that are then undone. All processes use the first one's answer."""
    schedule = trainer.recipe.schedule
    if not schedule.minutes:
        return schedule.epochs * trainer.task.steps
    before = copy.deepcopy(trainer.state())
    trainer.module.train()
    begun, stop = 0.0, TIMED_STEPS[1]
    device = trainer.device
    with (
        tuned(device),
        Loader(device, trainer.recipe.machine.loaders) as loader,
        closing(loader.repeated(trainer.task, stop)) as inputs,
    ):
        for number, taken in enumerate(inputs):
            if number == TIMED_STEPS[0]:
                settle(device)
                begun = time.perf_counter()
            train_step(trainer, taken)
    settle(trainer.device)
    seconds = (time.perf_counter() - begun) / (TIMED_STEPS[1] - TIMED_STEPS[0])
    trainer.restore(before)
    return share_first(max(1, round(60 * schedule.minutes / seconds)))


def _epoch(trainer: Trainer, monitor: Monitor | None, loader: Loader, stop: list[int]) -> None:
    machine, task, progress = trainer.recipe.machine, trainer.task, trainer.progress
    log = _Log(trainer, monitor)
    last = progress.step + min(task.steps - progress.step, progress.total - progress.done)
    trainer.module.train()
    with closing(loader.ahead(task, progress.epoch, progress.step, last)) as inputs:
        while progress.step < last:
            begun = time.perf_counter()
            total, losses = train_step(trainer, next(inputs))
            progress.step, progress.done = progress.step + 1, progress.done + 1
            record = log.add(total, losses)
            if record:
                settle(trainer.device)  # record the time of finished work, not of queued work
            progress.seconds += time.perf_counter() - begun
            if record:
                log.flush()
            due = progress.done % machine.save_steps == 0
            # Processes synchronise this only now and then, since they have to wait for each other.
            asked = trainer.world.size == 1 or due or progress.done % machine.log_steps == 0
            halted = asked and anyone(bool(stop), trainer.device)
            if halted or due:
                log.flush()
                trainer.save()
            if halted:
                raise Interrupted(
                    f"Stopped after step {progress.done}; resume with --resume {trainer.folder}."
                )
    log.flush()


def settle(device: torch.device) -> None:
    """Wait until the GPU has finished its queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def train_step(
    trainer: Trainer, inputs: Any, mark: Callable[[str], None] = lambda _: None
) -> tuple[Tensor, dict[str, Tensor]]:
    """One update of the weights; returns the loss and its parts, on the device. `mark` is called with the
    name of each stage (STAGES) as it ends."""
    recipe, progress, optimiser = trainer.recipe, trainer.progress, trainer.recipe.optimiser
    # Dropout, too, must depend only on the position in the run.
    torch.manual_seed(hash((recipe.seed, progress.epoch, progress.step, trainer.world.rank)) % 2**63)
    epoch_steps = trainer.task.steps
    rate = learning_rate(optimiser.lr, recipe.schedule, progress.done, epoch_steps, progress.total)
    set_rate(trainer.optimizer, rate)
    with autocast(recipe.machine.precision, trainer.device):
        opinion = trainer.task.teach(inputs)
        mark("teacher")
        total, losses = trainer.task.loss(trainer.module, inputs, opinion)
        mark("student")
    # Processes may hold different numbers of samples; DistributedDataParallel averages them as equals.
    share = share_of_mean(trainer.task.count(inputs), trainer.device)
    total = total * share
    trainer.optimizer.zero_grad(set_to_none=True)
    total.backward()
    mark("backward")
    if optimiser.clip_norm:
        nn.utils.clip_grad_norm_(trainer.task.objective.parameters(), optimiser.clip_norm)
    trainer.optimizer.step()
    if trainer.average is not None:
        states = trainer.average.state_dict().values(), trainer.task.objective.state_dict().values()
        update_average(*states, optimiser.ema, progress.done + 1)
    mark("optimiser")
    return total.detach(), {name: loss.detach() * share for name, loss in losses.items()}


class _Log:
    """Losses since the last record; they stay on the device until they are needed, to avoid synchronising."""

    def __init__(self, trainer: Trainer, monitor: Monitor | None) -> None:
        self.trainer, self.monitor = trainer, monitor
        self.first_step, self.begun = trainer.progress.step, trainer.progress.seconds
        self.rows: list[Tensor] = []
        self.names: list[str] = []

    def add(self, total: Tensor, losses: dict[str, Tensor]) -> bool:
        """Add the losses of a step; returns whether it is time to `flush`."""
        self.names = list(losses)
        self.rows.append(torch.stack([total, *losses.values()]).float())
        alone = self.trainer.device.type == "cpu" and self.trainer.world.size == 1
        at_once = alone and not bool(torch.isfinite(self.rows[-1][0]))
        return at_once or len(self.rows) >= self.trainer.recipe.machine.log_steps

    def flush(self) -> None:
        """Check that the losses are finite, then record their mean since the last record."""
        if not self.rows:
            return
        table = mean_over_processes(torch.stack(self.rows)).cpu()
        for number, value in enumerate(table[:, 0].tolist()):
            if not math.isfinite(value):
                raise TrainingError(self._sentence(self.first_step + number))
        progress, batch = self.trainer.progress, self.trainer.recipe.batch
        means = table.mean(0).tolist()
        speed = len(self.rows) * batch / max(1e-9, progress.seconds - self.begun)
        left = (progress.total - progress.done) * batch / speed
        weighting = getattr(self.trainer.task.objective, "weighting", None)
        if self.monitor:
            self.monitor.record(
                {
                    "kind": "train",
                    "step": progress.done,
                    "epoch": progress.epoch,
                    "loss": means[0],
                    "losses": dict(zip(self.names, means[1:], strict=True)),
                    "factors": weighting.factors() if weighting else {},
                    "lr": self.trainer.optimizer.param_groups[-1]["lr"],
                    "samples_per_s": speed,
                    "seconds": progress.seconds,
                    "seconds_left": max(0.0, left),
                }
            )
        self.first_step, self.begun, self.rows = progress.step, progress.seconds, []

    def _sentence(self, step: int) -> str:
        trainer, epoch = self.trainer, self.trainer.progress.epoch
        clips = sorted(set(trainer.task.clips(epoch, step)))
        named = ", ".join(clips[:5]) + (f" and {len(clips) - 5} more" if len(clips) > 5 else "")
        return (
            f"The loss is not a number at batch {step + 1} of epoch {epoch + 1} (clips {named}), so "
            "training stopped; the last good checkpoint is kept: look at those clips and resume with "
            f"--resume {trainer.folder}, or start again with a lower lr or with clip_norm."
        )


def _validate(trainer: Trainer, monitor: Monitor | None) -> None:
    """Validate, record, and keep the network if it is the best so far."""
    objective, progress = trainer.best_model, trainer.progress
    begun = time.perf_counter()
    with autocast(trainer.recipe.machine.precision, trainer.device):
        figures = trainer.task.validate(objective)
    trainer.module.train()
    score = figures.pop("score")
    if score > progress.best:
        progress.best = score
        if trainer.world.first:
            keep_best(trainer, figures)
    wait()
    took = time.perf_counter() - begun
    progress.seconds += took
    if monitor:
        entry = {"kind": "validation", "step": progress.done, "epoch": progress.epoch, **figures}
        monitor.record({**entry, "best": progress.best, "seconds": progress.seconds, "took_s": took})
