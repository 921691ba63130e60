"""How commands share options: one list of them, spliced into each command's signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

Command = Callable[..., int | None]
Shared = dict[str, tuple[Any, Any]]
"""Options that several commands share: name -> (annotation, default)."""


def with_options(parameter: str, options: Shared) -> Callable[[Command], Command]:
    """Replace one parameter of a command by `options`, which the command receives there as a dictionary."""

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        kind = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter(name, kind, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]
        parameters: list[inspect.Parameter] = []
        for name, own_parameter in own.parameters.items():
            parameters += shared if name == parameter else [own_parameter.replace(kind=kind)]

        @functools.wraps(command)
        def run(**given: Any) -> int | None:
            together = {name: given.pop(name) for name in options}
            return command(**given, **{parameter: together})

        run.__signature__ = own.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
