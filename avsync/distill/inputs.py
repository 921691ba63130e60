"""Load the inputs of the next steps in threads while the device works on the current one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

AHEAD = 1
"""Steps loaded ahead in addition to one per thread."""

T = TypeVar("T")


class Loads(Protocol):
    """Source of inputs: `load` is a pure function of epoch and step."""

    steps: int

    def load(self, epoch: int, step: int) -> Any: ...


class Loader:
    """Loads steps in `threads`. On a GPU each thread has its own stream, so that copies do not wait for the
    kernels of the current step. The inputs do not depend on the number of threads."""

    def __init__(self, device: torch.device, threads: int) -> None:
        self._device, self._threads = device, threads
        self._pool = ThreadPoolExecutor(threads, "inputs")
        self._local = threading.local()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def ahead(self, task: Loads, epoch: int, first: int, stop: int) -> Generator[Any]:
        """Inputs of the steps first..stop of an epoch, in order, while the next ones are loaded."""
        coming: dict[int, Future] = {}
        try:
            for step in range(first, stop):
                for later in range(step, min(step + AHEAD + self._threads, stop)):
                    if later not in coming:
                        coming[later] = self._pool.submit(self._loaded, task.load, epoch, later)
                yield self._ready(*coming.pop(step).result())
        finally:
            for future in coming.values():
                future.cancel()

    def repeated(self, task: Loads, count: int) -> Generator[Any]:
        """Inputs of `count` steps from the start of an epoch, repeated if it is shorter."""
        while count > 0:
            part = min(count, task.steps)
            yield from self.ahead(task, 0, 0, part)
            count -= part

    def _loaded(
        self, load: Callable[[int, int], T], epoch: int, step: int
    ) -> tuple[T, torch.cuda.Event | None]:
        """A step's inputs, and the event that tells when they are on the device."""
        if self._device.type != "cuda":
            return load(epoch, step), None
        with torch.cuda.stream(self._stream()):
            inputs, done = load(epoch, step), torch.cuda.Event()
            done.record()
        return inputs, done

    def _stream(self) -> torch.cuda.Stream:
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._device)
        return self._local.stream

    def _ready(self, inputs: T, done: torch.cuda.Event | None) -> T:
        if done is not None:
            here = torch.cuda.current_stream(self._device)
            here.wait_event(done)
            for tensor in tensors(inputs):  # keeps their memory from being reused before this step is done
                if tensor.is_cuda:
                    tensor.record_stream(here)
        return inputs


def tensors(inputs: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, dictionaries and records."""
    if isinstance(inputs, Tensor):
        yield inputs
        return
    if isinstance(inputs, dict):
        parts: Any = inputs.values()
    elif isinstance(inputs, tuple | list):
        parts = inputs
    else:
        parts = vars(inputs).values() if is_dataclass(inputs) else ()
    for part in parts:
        yield from tensors(part)


@contextmanager
def tuned(device: torch.device) -> Iterator[None]:
    """On a GPU, let cuDNN benchmark its algorithms, since the shapes never change, and use TF32 for what is
    still in float32. The old settings are restored at the end. Does nothing elsewhere."""
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    cudnn.benchmark = cudnn.allow_tf32 = matmul.allow_tf32 = True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before
