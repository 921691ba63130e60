"""Output and exit of every command: results on stdout, an error as one sentence on stderr, an exit code."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsync.cli.logs import show_log
from avsync.core.errors import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    AvsyncError,
    OptionError,
    told,
    unexpected,
)
from avsync.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console

Command = Callable[..., int | None]


Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log to stderr; AVSYNC_LOG=debug logs more.")]


def guarded(command: Command) -> Callable[..., None]:
    """`command` with every error turned into an exit code (see `outcome`), and with the option --verbose."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    wanted = next((parameter.name for parameter in own if parameter.annotation is typer.Context), None)

    @functools.wraps(command)
    def run(*args: Any, verbose: bool = False, **kwargs: Any) -> None:
        show_log(verbose=verbose)
        context = kwargs[wanted] if wanted else kwargs.pop("ctx")
        if mistaken := _option_as_value(context, kwargs):
            raise typer.Exit(fail(mistaken, EXIT_USAGE))
        options = {one.name: one.opts[0] for one in context.command.params if one.name}
        raise typer.Exit(outcome(lambda: command(*args, **kwargs), options))

    context = {} if wanted else {"ctx": (typer.Context, inspect.Parameter.empty)}
    return _with_parameters(run, command, verbose=(Verbose, False), **context)


def _option_as_value(context: typer.Context, given: dict[str, Any]) -> str:
    """The complaint about an option that took the next one for its value: `--jsonl -q` would write a file
    named -q; "" where there is none."""
    options = [one for one in context.command.params if one.param_type_name == "option"]
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    for option in options:
        value = given.get(option.name or "")
        if isinstance(value, str | os.PathLike) and str(value) in names:
            return (
                f"{option.opts[0]} lacks its value: {value} is an option (a file of that name is ./{value})."
            )
    return ""


def guarded_alone(command: Command) -> Callable[..., None]:
    """`guarded` for what a group does without a subcommand.

    With one, it does nothing, and options before the subcommand are refused, since they would be ignored.
    """
    alone = guarded(command)

    @functools.wraps(alone)
    def run(ctx: typer.Context, **kwargs: Any) -> None:
        if ctx.invoked_subcommand is None:
            alone(ctx=ctx, **kwargs)
        for parameter in ctx.command.params:
            source = ctx.get_parameter_source(parameter.name or "")
            if source is not None and source.name == "COMMANDLINE":
                after = f"{ctx.info_name} {ctx.invoked_subcommand}"
                words = f"Give {parameter.opts[0]} after {after}, if that has such an option."
                raise typer.Exit(fail(words, EXIT_USAGE))

    return _with_parameters(run, alone)


def _with_parameters(
    run: Callable[..., None], command: Command, **added: tuple[Any, Any]
) -> Callable[..., None]:
    """`run` with the signature of `command` plus more parameters: name -> (annotation, default)."""
    own = inspect.signature(command, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=kind) for parameter in own.parameters.values()]
    parameters += [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in added.items()
    ]
    run.__signature__ = own.replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def outcome(work: Callable[[], int | None], options: Mapping[str, str] = MappingProxyType({})) -> int:
    """The exit code of `work`: what it returns (None is 0), or that of the error it raises.

    An AvsyncError is printed as one sentence, in which an option has the name that it has on the command line
    (`options`: Python keyword -> option). Anything else is a bug and gives 4, never 1, which would mean
    "out of sync".
    """
    try:
        return work() or 0
    except KeyboardInterrupt:
        return fail("Stopped.", EXIT_INTERRUPTED)
    except OptionError as error:
        typed = options.get(error.option, f"--{error.option.replace('_', '-')}")
        return fail(f"{typed} {error.wrong}", error.exit_code)
    except AvsyncError as error:
        return fail(told(error), error.exit_code)
    except Exception as error:
        if hasattr(error, "exit_code"):  # typer's own: usage errors and Exit
            raise
        return fail(unexpected(error), EXIT_ERROR)


WRONG_VALUE = re.compile(r"Invalid value for '(?P<option>--[\w-]+)[^']*': (?P<why>.+)")
WRONG_CHOICE = re.compile(r"Value error, (?P<value>.+?) (?P<why>is not one of .+)")


def usage_words(error: typer.TyperException) -> str:
    """One sentence for a usage error of typer's: "--engine cannot be 'x'; it is not one of ..."."""
    words = " ".join(error.format_message().split()).removesuffix(".")
    if not (wrong := WRONG_VALUE.fullmatch(words)):
        return f"{words}." if words and not words.endswith("?") else words
    if choice := WRONG_CHOICE.fullmatch(wrong["why"]):
        return f"{wrong['option']} cannot be {choice['value']}; it {choice['why']}."
    why = wrong["why"].replace("Input should", "should", 1)
    return f"{wrong['option']} {why}."


def fail(sentence: str, code: int) -> int:
    """Print the sentence on stderr, with the traceback if AVSYNC_DEBUG is set; returns `code`."""
    if os.environ.get("AVSYNC_DEBUG"):
        traceback.print_exc()
    if sys.stderr is not None:  # None if it was closed, in which case print would use stdout
        print(f"avsync: {printable(' '.join(sentence.split()))}", file=sys.stderr)
    _drop_what_stdout_cannot_take()
    return code


def _drop_what_stdout_cannot_take() -> None:
    """Python flushes stdout once more at exit and turns a failure into exit code 120."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def emit(text: str, *, styled: bool = False) -> None:
    """Write a result to stdout; a closed pipe (`| head`) is not an error and does not change the exit code.

    Control characters, which file names and titles may contain, are escaped, unless the text is `styled` with
    them; the caller has then escaped untrusted parts.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text if styled else printable(text, keep="\n\t"))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console() -> Console:
    """The terminal or pipe for results."""
    from rich.console import Console

    return Console(file=sys.stdout)
