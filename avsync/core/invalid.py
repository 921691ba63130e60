"""What pydantic finds wrong with a value, in avsync's words: the same for options, profiles and recipes."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

KINDS_OF_VALUE = {
    "int": "a whole number", "float": "a number", "finite": "a number", "bool": "true or false",
    "tuple": "a list", "list": "a list", "too": "a list of as many", "string": "a name or a path",
    "path": "a path", "model": "a list of `name: value` lines", "dataclass": "a list of `name: value` lines",
    "dict": "a list of `name: value` lines", "mapping": "a list of `name: value` lines",
}  # fmt: skip
"""The first word of pydantic's error type -> what the value should have been."""
LIMITS = {
    "greater_than_equal": ("ge", "{} or more"), "greater_than": ("gt", "above {}"),
    "less_than_equal": ("le", "{} or less"), "less_than": ("lt", "below {}"),
}  # fmt: skip
"""pydantic's error type -> the key of the limit, and how to say it."""


class Invalid(NamedTuple):
    """The first error of a validation: the path of the value (names and list indices), whether there is no
    such setting at all, and what is wrong, as "cannot be -1; it is a number above 0"."""

    path: tuple[str | int, ...]
    unknown: bool
    wrong: str


def first_invalid(error: ValidationError) -> Invalid:
    """The first thing that pydantic reports."""
    first = error.errors()[0]
    kind, context = first["type"], first.get("ctx", {})
    unknown = kind in ("extra_forbidden", "unexpected_keyword_argument")
    given = f"cannot be {first['input']!r}"
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        wanted = f"choose one of {choices}"
    elif kind in LIMITS:
        key, words = LIMITS[kind]
        wanted = f"it is a number {words.format(f'{context[key]:g}')}"
    elif kind == "value_error":
        wanted = f"it {context['error']}"
    else:
        named = KINDS_OF_VALUE.get(kind.split("_", 1)[0])
        wanted = f"it is {named}" if named else first["msg"].replace("Input ", "it ", 1)
    return Invalid(first["loc"], unknown, f"{given}; {wanted}")
