"""Making and using at the same time: a thread works ahead of whoever takes the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

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
