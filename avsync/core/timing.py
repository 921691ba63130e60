"""Seconds of work by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
Timings = dict[str, float]
"""Seconds by the name of a stage."""


@contextmanager
def timed(timings: Timings, stage: str) -> Iterator[None]:
    """Adds the seconds that the block takes to `stage`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - started


def timed_each(items: Iterable[T], timings: Timings, stage: str) -> Iterator[T]:
    """`items`, with the time that making them takes booked to `stage`."""
    source = iter(items)
    while True:
        with timed(timings, stage):
            item = next(source, None)
        if item is None:
            return
        yield item


def timed_calls(work: Callable[P, T], timings: Timings, stage: str) -> Callable[P, T]:
    """`work`, with the time that each call takes booked to `stage`."""

    def call(*args: P.args, **options: P.kwargs) -> T:
        with timed(timings, stage):
            return work(*args, **options)

    return call
