"""One wording of a wrong value, whatever it is a value of."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avsync.core.invalid import Invalid, first_invalid


class Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    count: int = 1
    share: float = Field(0.5, ge=0, lt=1)
    kind: Literal["a", "b"] = "a"
    flags: tuple[bool, ...] = ()


def invalid(**values: object) -> Invalid:
    with pytest.raises(ValidationError) as caught:
        Part.model_validate(values)
    return first_invalid(caught.value)


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"count": 1.5}, "cannot be 1.5; it is a whole number"),
        ({"share": "half"}, "cannot be 'half'; it is a number"),
        ({"share": float("nan")}, "cannot be nan; it is a number"),
        ({"share": -1.0}, "cannot be -1.0; it is a number 0 or more"),
        ({"share": 1.0}, "cannot be 1.0; it is a number below 1"),
        ({"kind": "c"}, "cannot be 'c'; choose one of a, b"),
        ({"flags": 3}, "cannot be 3; it is a list"),
    ],
)
def test_what_is_wrong_and_what_it_can_be(values, wrong):
    assert invalid(**values).wrong == wrong


def test_the_place_inside_a_list():
    assert invalid(flags=(True, "no")).path == ("flags", 1)


def test_a_setting_that_does_not_exist():
    assert invalid(flavour=1).unknown
    assert invalid(flavour=1).path == ("flavour",)
