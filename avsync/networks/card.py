"""The card of a checkpoint: what weights cannot say by themselves (dims, preprocessing, calibration, training
data, licence).

It is stored twice: inside the .safetensors file, so that one file is a whole checkpoint, and in a YAML beside
it, for people and for what is added later (the calibration). The YAML counts while its `sha256` is that of
the file; where it is not, as after a crash between the two, the card inside does, once the weights have
proved to be those that it was written for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open

from avsync.core.errors import ModelError
from avsync.core.files import read_yaml

FORMAT = 1
"""Version of a card."""
INSIDE = "avsync"
"""Name of the card among the metadata of a .safetensors file, as JSON."""


def beside(path: Path) -> dict[str, Any] | None:
    """The YAML beside a checkpoint, None where there is none; raises ModelError when it is not ours."""
    card = path.with_suffix(".yaml")
    if not card.is_file():
        return None
    try:
        info = read_yaml(card)
    except ValueError as error:
        raise ModelError(f"{card} cannot be read ({error}); fetch or train the checkpoint again.") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ModelError(f"{card} is not an avsync checkpoint card of format {FORMAT}.")
    return info


def inside(path: Path) -> dict[str, Any] | None:
    """The card in a .safetensors file, None where it holds none; raises ModelError for a damaged file."""
    try:
        with safe_open(path, "np") as file:
            text = (file.metadata() or {}).get(INSIDE)
        info = json.loads(text) if text else None
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}; fetch or train it again.") from error
    return info if isinstance(info, dict) and info.get("format") == FORMAT else None


def to_yaml(info: Mapping[str, Any]) -> bytes:
    """The YAML to write beside a checkpoint."""
    return yaml.dump(dict(info), Dumper=_Plain, sort_keys=False, allow_unicode=True).encode()


class _Plain(yaml.SafeDumper):
    """Writes a value that occurs twice out twice; cards have no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True
