"""Working ahead changes when items are made, not what they are."""

from collections.abc import Iterator
from threading import Event, current_thread

import pytest

from avsync.core.prefetch import ahead


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_items_come_whole_and_in_order(depth: int):
    assert list(ahead(iter(range(10)), depth)) == list(range(10))
    assert list(ahead(iter([]), depth)) == []


def test_the_next_are_made_while_one_is_used():
    made = [Event() for _ in range(5)]

    def numbers() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    items = ahead(numbers(), 2)
    assert next(items) == 0
    assert all(event.wait(10) for event in made[:3]), "two lie ready beside the one in use"
    assert not made[3].wait(0.05), "and no more than two"
    assert list(items) == [1, 2, 3, 4]


def test_all_items_are_made_in_one_other_thread():
    threads = set(ahead((current_thread() for _ in range(9)), 3))
    assert len(threads) == 1
    assert current_thread() not in threads


def test_an_error_is_raised_in_its_place():
    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    items = ahead(numbers(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert list(items) == []


def test_closing_early_closes_the_source():
    closed = Event()

    def numbers() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = ahead(numbers(), 4)
    next(items)
    items.close()
    assert closed.is_set()
