"""A number that an option cannot have is refused at once, in one sentence that begins with the option as it
is typed. The options are found by themselves, in every command."""

import inspect
import re
from typing import Any

import pytest
from command import run
from typer.main import get_command

from avsync.cli.app import app
from avsync.core.errors import EXIT_USAGE

ANYWHERE = {"offset_ms"}
"""An offset can be below zero."""


def numeric(node: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Commands and their options for one number or more, those with a parser of their own too."""
    children = getattr(node, "commands", {})
    found = [one for name, child in children.items() for one in numeric(child, (*path, name))]
    hints = inspect.signature(node.callback, eval_str=True).parameters if node.callback else {}
    numbers = {name for name, hint in hints.items() if re.search(r"\b(int|float)\b", str(hint.annotation))}
    return found + [
        (path, one) for one in node.params if one.opts[0].startswith("--") and one.name in numbers
    ]


OPTIONS = numeric(get_command(app))
NAMES = [f"{' '.join(path)} {option.opts[0]}" for path, option in OPTIONS]


def refused(path: tuple[str, ...], option: Any, value: str) -> None:
    """`value` for the option, and something for whatever the command demands."""
    node: Any = get_command(app)
    for name in path:
        node = node.commands[name]
    needed = [one for one in node.params if one.required and one is not option]
    arguments = [word for one in needed for word in given(one)]
    typed = [f"{option.opts[0]}={value}", *[value] * (option.nargs - 1)]
    done = run(*path, *arguments, *typed)
    assert done.exit_code == EXIT_USAGE, done.output
    assert done.stderr.startswith(f"avsync: {option.opts[0]} "), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def given(parameter: Any) -> list[str]:
    value = "udp://127.0.0.1:1" if parameter.name == "address" else f"no-{parameter.name}"
    return [f"{parameter.opts[0]}={value}"] if parameter.opts[0].startswith("--") else [value]


def test_there_are_many():
    assert len(OPTIONS) > 60
    assert "check --start" in NAMES
    assert "check --tolerance" in NAMES


@pytest.mark.parametrize(("path", "option"), OPTIONS, ids=NAMES)
def test_what_is_no_number_is_refused(path: tuple[str, ...], option: Any):
    refused(path, option, "abc")


@pytest.mark.parametrize(("path", "option"), OPTIONS, ids=NAMES)
def test_what_is_not_finite_is_refused(path: tuple[str, ...], option: Any):
    refused(path, option, "nan")


@pytest.mark.slow
@pytest.mark.parametrize(("path", "option"), OPTIONS, ids=NAMES)
def test_what_is_far_below_zero_is_refused(path: tuple[str, ...], option: Any):
    if option.name in ANYWHERE:
        pytest.skip("may be negative")
    refused(path, option, "-100000000")
