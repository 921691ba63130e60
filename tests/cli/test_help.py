"""The help of every command fits a terminal of 80 columns and shows an example, types and defaults."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from avsync.cli.app import app


def commands(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, node
    for name, child in sorted(getattr(node, "commands", {}).items()):
        yield from commands(child, (*path, name))


EVERY = dict(commands(get_command(app)))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_help_fits_and_explains(path: tuple[str, ...]):
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    heading = next(n for n, line in enumerate(lines) if line.strip() in ("Example", "Examples"))
    assert lines[heading + 1].strip().startswith(" ".join(("avsync", *path)))
    text = " ".join(line.strip("│ ") for line in lines)
    for parameter in EVERY[path].params:
        flag, default = parameter.opts[0], parameter.default
        if not flag.startswith("--") or "completion" in flag:
            continue
        assert flag in text
        if default is not None and not isinstance(default, bool | tuple) and default != "":
            assert f"[default: {default}]" in text, flag
        if not parameter.is_flag:
            row = next(line for line in lines if re.match(rf"│[\s*]+{flag}(,|\s)", line))
            assert re.search(rf"{flag}\S*\s+(-\w\s+)?[A-Z<\[]", row), f"no type: {row}"


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_everything_is_explained(path: tuple[str, ...]):
    """A sentence for each argument and option, in plain types."""
    for parameter in EVERY[path].params:
        words = parameter.help or ""
        assert words.rstrip().endswith((".", "!")), f"{parameter.opts[0]}: {words!r}"
        shown = parameter.display_type_rich(ctx=get_command(app).make_context("avsync", ["demo"])) or ""
        assert "Any" not in shown, parameter.opts[0]


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_examples_name_options_that_exist(path: tuple[str, ...]):
    text = (EVERY[path].help or "").replace("\\\n", " ")
    examples = re.findall(r"(?:^|\| |-m )(avsync .*)", text, re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example.split(" | ")[0])[1:]
        node = EVERY[()]
        while words and words[0] in getattr(node, "commands", {}):
            node = node.commands[words.pop(0)]
        known = {option for parameter in node.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, example


@pytest.mark.parametrize("path", [path for path in EVERY if not getattr(EVERY[path], "commands", None)])
def test_every_command_can_log(path: tuple[str, ...]):
    assert "--verbose" in {option for parameter in EVERY[path].params for option in parameter.opts}
