"""Produce items in a thread while others are being consumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


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
