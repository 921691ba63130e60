"""The options of a check, merged from the command line, a profile and a configuration file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from avsync.core.config import find_config, read_config
from avsync.core.errors import UsageError
from avsync.core.options import CheckKeywords, CheckOptions, check_options
from avsync.core.profiles import load_profile

log = logging.getLogger(__name__)


def typed(context: typer.Context, check: CheckKeywords) -> dict[str, Any]:
    """The options that were given explicitly."""
    defaults = ("DEFAULT", "DEFAULT_MAP")
    sources = {name: context.get_parameter_source(name) for name in check}
    return {n: v for n, v in check.items() if (source := sources[n]) and source.name not in defaults}


def settled(typed: Mapping[str, Any], config: Path | None) -> CheckOptions:
    """In order of precedence: options typed, the profile typed, the configuration, its profile, the defaults.
    `config`: the file, or None for the nearest avsync.toml.

    Raises UsageError and OptionError.
    """
    if config is not None and not config.is_file():
        raise UsageError(f"There is no configuration {config}; check the name.")
    path = config or find_config(Path.cwd())
    configured: dict[str, Any] = {}
    if path is not None:
        log.info("defaults from %s", path)
        configured = read_config(path)
        try:
            check_options(**configured)
        except UsageError as error:
            raise UsageError(f"In {path}: {error}") from error
    if typed.get("profile"):
        limits = load_profile(str(typed["profile"])).options
        configured = {name: value for name, value in configured.items() if name not in limits}
        configured.pop("tolerance_ms", None)
    if "standard" in typed:
        configured.pop("tolerance_ms", None)
    return check_options(**{**configured, **typed})  # type: ignore[typeddict-item]
