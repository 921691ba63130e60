"""What of a checkpoint's card depends on its weights or its network."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avsync.core.errors import ModelError
from avsync.networks.base import Preprocessing
from avsync.networks.card import INSIDE
from avsync.networks.registry import AnyDims, dims_from


def metadata(info: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What to write into a .safetensors file so that it holds its card."""
    return {INSIDE: json.dumps({**info, "tensors_sha256": tensors_sha256(tensors)}, default=str)}


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hex digest of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous().cpu()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def dims(path: Path, info: Mapping[str, Any]) -> AnyDims:
    """The dims in the card of `path`; raises ModelError where they make no network."""
    try:
        return dims_from(info["dims"])
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"The card of {path} has no usable dims: {error}.") from error


def preprocessing(path: Path, info: Mapping[str, Any]) -> Preprocessing:
    """How the card of `path` wants frames prepared; raises ModelError where it does not say so."""
    try:
        found = Preprocessing(**info["preprocessing"])
        if found.channels not in ("rgb", "bgr") or not 0 < float(found.scale) < math.inf:
            raise ValueError(f"{found}")
        return found
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The card of {path} does not say how frames are preprocessed.") from error
