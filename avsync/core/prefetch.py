"""Produce items in a thread while others are being consumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from threading import Event
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def beside(items: Iterable[T]) -> Iterator[Future[list[T]]]:
    """All of `items`, produced in a thread of their own while the block runs; leaving it early stops that."""
    over = Event()
    with ThreadPoolExecutor(1, "avsync-beside") as pool:
        try:
            yield pool.submit(lambda: list(takewhile(lambda _: not over.is_set(), items)))
        finally:
            over.set()


_END: Any = object()


def ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """`items`, produced in a thread of their own, up to `depth` of them in advance.

    An exception is raised in place of its item. Closing this early waits for the item being produced, then
    closes `items`.
    """
    with ThreadPoolExecutor(1, "avsync-ahead") as pool:
        coming = deque(pool.submit(next, items, _END) for _ in range(depth))
        try:
            while (item := coming.popleft().result()) is not _END:
                coming.append(pool.submit(next, items, _END))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)
            if isinstance(items, Generator):
                items.close()
