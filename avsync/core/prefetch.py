"""Making and using at the same time: a thread works ahead of whoever takes the items."""

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
    """All of `items`, made in a thread of their own while the block runs; leaving it early stops them."""
    over = Event()
    with ThreadPoolExecutor(1, "avsync-beside") as pool:
        try:
            yield pool.submit(lambda: list(takewhile(lambda _: not over.is_set(), items)))
        finally:
            over.set()


_END: Any = object()


def ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """`items` as they are, made in a thread of their own, up to `depth` of them before they are asked for.

    What goes wrong among them is raised in its place. Closing this early waits for the item in the making,
    then closes `items`.
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
