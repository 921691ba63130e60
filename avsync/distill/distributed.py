"""Distributed training with PyTorch: one process per GPU (or core) under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

PREPARE_HOURS = 72
"""How long the other processes wait while the first prepares the data."""


@dataclass(frozen=True)
class World:
    """This process among all: `rank` of `size`; `local` is its rank on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    @property
    def deal(self) -> slice:
        """This process's share of a sequence: every `size`-th element."""
        return slice(self.rank, None, self.size)


@dataclass(frozen=True)
class Draws:
    """The random numbers of a step, and this process's part of its batch."""

    seed: int
    batch: int
    world: World = World()

    @property
    def each(self) -> int:
        """Samples per step in this process."""
        return self.batch // self.world.size

    def steps(self, samples: int) -> int:
        """Steps of an epoch of this many samples."""
        return max(1, samples // self.batch)

    def part(self, step: int) -> slice:
        """This process's samples of a step, as a slice of the epoch's."""
        first = step * self.batch + self.world.rank * self.each
        return slice(first, first + self.each)

    def rng(self, epoch: int, step: int) -> np.random.Generator:
        """The generator of one step in this process, the same whenever the step is run."""
        return np.random.default_rng([self.seed, epoch, step, self.world.rank])


@contextmanager
def world(device: torch.device) -> Iterator[World]:
    """Join the group that torchrun started, or run alone."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(hours=PREPARE_HOURS))
    try:
        yield World(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        dist.destroy_process_group()


def wait() -> None:
    """Wait for every process."""
    if dist.is_initialized():
        dist.barrier()


def share_first(value: Any) -> Any:
    """The first process's value, in every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]


def anyone(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set in any process, so that all stop at the same step."""
    if not dist.is_initialized():
        return flag
    value = torch.tensor(float(flag), device=device)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value.item())


def mean_over_processes(values: Tensor) -> Tensor:
    """Average of a tensor over all processes."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values = values / dist.get_world_size()
    return values


def share_of_mean(count: int, device: torch.device) -> float:
    """The factor for this process's mean over `count` samples that makes the plain average over processes the
    mean over all samples; 1 for a single process."""
    if not dist.is_initialized():
        return 1.0
    total = torch.tensor(float(count), device=device)
    dist.all_reduce(total)
    return count * dist.get_world_size() / max(1.0, float(total))


def gather(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Columns (k, n) of every process, split as by `World.deal` -> (k, sum of n) in the original order."""
    if not dist.is_initialized():
        return values
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, values)
    whole = np.empty((len(values), sum(part.shape[1] for part in parts)), values.dtype)
    for rank, part in enumerate(parts):
        whole[:, rank :: len(parts)] = part
    return whole


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes, so that N processes train like one with N times the
    batch. PyTorch's SyncBatchNorm works on GPUs only; this one on any backend."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        shape = (1, -1, *(1,) * (input.ndim - 2))
        x, size = input.float(), dist.get_world_size()
        mean = all_reduce(x.mean(axes)) / size
        # Centre first: the difference of two large squares would lose precision on frames in 0..255.
        x = x - mean.view(shape)
        variance = all_reduce(x.square().mean(axes)) / size
        self._remember(mean.detach(), variance.detach(), input.numel() // input.shape[1] * size)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (x * scale.view(shape) + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None  # noqa: S101
        assert self.running_var is not None  # noqa: S101
        assert self.num_batches_tracked is not None  # noqa: S101
        share = self.momentum or 0.1
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(1, count - 1), share)


def spread(objective: nn.Module) -> nn.Module:
    """The objective as all processes of the group train it together."""
    share_batch_norms(objective, native=dist.get_backend() == "nccl")
    # The graph never changes, and parts may be unused (the encoders while the embeddings learn alone).
    return DistributedDataParallel(objective, static_graph=True, gradient_as_bucket_view=True)


def share_batch_norms(module: nn.Module, *, native: bool = False) -> nn.Module:
    """Replace every batch norm in `module` by a synchronised one, in place: PyTorch's, which works on GPUs
    only, if `native`, else `SharedBatchNorm`."""
    if native:
        for name, child in module.named_children():
            setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        return module
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum)
            shared.load_state_dict(child.state_dict())
            setattr(module, name, shared.to(child.weight.device))
        else:
            share_batch_norms(child)
    return module
