"""Recipes by name: the paper's and its authors' variants, and the shipped YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avsync.core.errors import UsageError
from avsync.networks.library import shipped_folder

PRESETS: dict[str, Mapping[str, Any]] = {
    "paper": {},
    "authors": {
        "kl": "teacher-student",
        "kl_reduction": "mean",
        "va_clamp": 1e-5,
        "weighting": "aw13",
        "kd_target": "batch",
        "rkd_mean": "matrix",
        "hint_side": "teacher",
        "hint_encoders": "all",
        "negatives": "anywhere",
        "redraw_quiet": True,
        "min_frames": 26,
        "mel": "window",
        "warmup": "epochs",
        "select": "f1_authors",
    },
    "vocalist": {
        "student": "vocalist",
        "method": "bce",
        "preprocessing": {"channels": "bgr", "scale": 1 / 255},
        "schedule": "constant",
        "warmup_epochs": 0,
        "epochs": 600,
        "negatives": "anywhere",
        "redraw_quiet": True,
        "min_frames": 26,
        "mel": "window",
        "select": "f1_authors",
    },
}
"""Differences of each from the defaults: "paper" as the paper describes it, "authors" as in its authors'
released code (table in docs/distillation.md), "vocalist" as VocaLiST was trained."""


def recipes_folder() -> Path:
    """The folder of shipped YAML files, in a wheel or a checkout."""
    return shipped_folder() / "recipes"


def shipped() -> dict[str, Path]:
    """Name -> file of every shipped recipe."""
    return {path.stem: path for path in sorted(recipes_folder().glob("*.yaml"))}


def find_config(config: Path) -> Path:
    """The file of --config: a path, or the name of a shipped recipe.

    Raises:
        UsageError: it is neither.
    """
    if config.suffix or config.is_file() or len(config.parts) > 1:
        return config
    known = shipped()
    if config.name not in known:
        raise UsageError(
            f"There is no configuration {config}: give a YAML file, or one of {', '.join(known)}."
        )
    return known[config.name]
