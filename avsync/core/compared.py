"""Equality and hashing of records that hold arrays or dictionaries, which dataclasses alone cannot give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


class ByValue:
    """Base of frozen dataclasses made with `eq=False`: two are equal where they are of one class and all
    fields that take part in comparisons are equal, arrays by shape and value, with NaN equal to NaN."""

    def __eq__(self, other: object) -> bool:
        if other is self:
            return True
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(_equal(one, two) for one, two in zip(_compared(self), _compared(other), strict=True))

    def __hash__(self) -> int:
        return hash((type(self), tuple(_hashable(value) for value in _compared(self))))


def _compared(record: Any) -> list[Any]:
    return [getattr(record, field.name) for field in fields(record) if field.compare]


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        both = isinstance(one, np.ndarray) and isinstance(two, np.ndarray)
        return both and np.array_equal(one, two, equal_nan=one.dtype.kind == "f" and two.dtype.kind == "f")
    if isinstance(one, tuple) and isinstance(two, tuple):
        return len(one) == len(two) and all(map(_equal, one, two))
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(_equal(value, two[key]) for key, value in one.items())
    return bool(one == two)


def _hashable(value: Any) -> Any:
    """The same for values that are `_equal`. Of an array only the shape: equal numbers may differ in bits."""
    if isinstance(value, np.ndarray):
        return value.shape
    if isinstance(value, tuple | list):
        return tuple(map(_hashable, value))
    if isinstance(value, Mapping):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return value
