"""The models named by `--models`: checkpoints, or for timing, the papers' networks with random weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from avsync.core.errors import ModelError, UsageError
from avsync.networks import checkpoint, library
from avsync.networks.base import Preprocessing
from avsync.networks.checkpoint import Loaded
from avsync.networks.registry import ARCHITECTURES, build_network
from avsync.networks.zoo import PUBLIC

UNTRAINED = ("student", "teacher", "syncnet", "perfect-match", "avst", "dual")
"""Architectures of `avsync train` that can be timed without weights."""


@dataclass(frozen=True)
class Named:
    """One of `--models`: the name to show, and the name or path of its checkpoint."""

    name: str
    checkpoint: str


def parse_models(text: str, *, untrained: bool = True) -> list[Named]:
    """ "a,b=path" -> models a and b; "all": every checkpoint on this machine and, if wanted, the untrained
    networks.

    Raises UsageError if nothing is named, or a name appears twice."""
    if text.strip() == "all":
        return [
            Named(name, name)
            for name in dict.fromkeys([*library.available(), *(UNTRAINED if untrained else ())])
        ]
    chosen = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, is_given, path = part.partition("=")
        chosen.append(Named(name.strip(), path.strip() if is_given else part))
    if not chosen or not all(model.name and model.checkpoint for model in chosen):
        raise UsageError("--models names no model; give names, paths or NAME=PATH, comma-separated.")
    if len({model.name for model in chosen}) < len(chosen):
        raise UsageError("--models gives a name twice; tell them apart with NAME=PATH.")
    return chosen


def check_known(models: Iterable[Named], *, untrained: bool) -> None:
    """Raises ModelError, before any work, for a model that is not here; `untrained`: networks without weights
    are accepted."""
    for model in models:
        if not (untrained and model.checkpoint in UNTRAINED):
            find(model)


def find(model: Named) -> Path:
    """The file of its checkpoint."""
    name = model.checkpoint
    if name in UNTRAINED and name not in PUBLIC and name not in library.available():
        raise ModelError(
            f"{name} is a network without weights, and can only be timed; give {name}=PATH of a checkpoint."
        )
    return library.find(name)


def load(model: Named, device: str = "cpu") -> Loaded:
    """Load the checkpoint, under the name it was given."""
    return replace(checkpoint.load(find(model), device), name=model.name)


def load_for_timing(model: Named, device: str = "cpu") -> Loaded:
    """As `load`, but names of UNTRAINED that are not checkpoints give those networks with random weights."""
    target = checkpoint.pick_device(device)
    if model.checkpoint not in UNTRAINED or model.checkpoint in library.available():
        return load(model, device)
    torch.manual_seed(0)
    network = build_network(ARCHITECTURES[model.checkpoint]).eval().to(target)
    return Loaded(network, Preprocessing(), model.name, Path())
