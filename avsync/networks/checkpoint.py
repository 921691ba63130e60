"""Checkpoints: verify, load, save and convert; `library` finds them.

Our own are NAME.safetensors, which hold their card (see `card`), and NAME.yaml beside them. The pickles of
the papers' authors are read by `zoo`. Models of other packages come through `core.plugins`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from avsync.audio.speech import installed_encoder
from avsync.core import plugins
from avsync.core.constants import CropKind
from avsync.core.errors import ModelError, UsageError
from avsync.core.files import file_sha256, write_whole
from avsync.networks import card, weights_card
from avsync.networks.base import Network, Preprocessing, Scorer, count_parameters
from avsync.networks.library import find, is_brought
from avsync.networks.registry import AnyDims, build_network
from avsync.networks.zoo import read_public, recognise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded(Scorer):
    """A checkpoint's network, ready to score. `calibration` are plain numbers for `offset.Calibration`
    (empty: none was fitted for it); `info` is everything the YAML says."""

    name: str
    path: Path
    calibration: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The kind of network."""
        return self.model.family

    @property
    def crop(self) -> CropKind:
        """Which crops it takes."""
        return self.model.crop

    @property
    def embeds(self) -> bool:
        """Whether a pair costs no more than comparing two vectors."""
        return self.model.embeds

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU runs it."""
        return self.device.type == "cpu"


def load(name: str | Path, device: str = "auto") -> Loaded:
    """The network of a checkpoint, in eval mode on `device` ("auto": CUDA if there is one).

    Raises:
        ModelError: the file is missing, damaged, or not a network that is known here.
        SetupError: the package that brings the model, or the speech encoder that it needs, cannot be used.
    """
    if is_brought(name):
        return _brought(str(name), device)
    path = find(name)
    target = pick_device(device)
    if path.suffix == ".safetensors":
        info, state = _read_own(path)
        dims, preprocessing = weights_card.dims(path, info), weights_card.preprocessing(path, info)
    else:
        state = read_public(path)
        public = recognise(path, state)
        source = public.source
        info = {"licence": source.licence, "source": source.where, "dims": public.dims.to_dict()}
        dims, preprocessing = public.dims, public.preprocessing
    model = build(dims, state, path).to(target)
    if model.hears_speech:
        installed_encoder()  # now rather than after the faces have been found
    log.info("loaded %s on %s", path, target)
    return Loaded(model, preprocessing, path.stem, path, info.get("calibration") or {}, info)


def _brought(name: str, device: str) -> Loaded:
    make = plugins.find("avsync.models", name)
    loaded = make(str(pick_device(device))) if make is not None else None
    if not isinstance(loaded, Loaded):
        raise ModelError(
            f"The package that brings the model {name} gave a {type(loaded).__name__}, not a Loaded."
        )
    loaded.model.eval()
    return replace(loaded, name=name)


def build(dims: AnyDims, state: Mapping[str, Tensor], path: Path) -> Network:
    """A network of `dims` with these weights as float32, in eval mode.

    Raises ModelError where the weights are of another network: before one is built, since dims may claim any
    size."""
    family = getattr(dims, "family", "VocaLiST")
    if wrong := _misfit(dims, state):
        raise ModelError(f"{path} does not hold the weights of a {family} network: {wrong}.")
    model = build_network(dims)
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        detail = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"{path} does not hold the weights of a {family} network: {detail}") from error
    return model.eval()


def _misfit(dims: AnyDims, state: Mapping[str, Tensor]) -> str:
    """By what names and shapes of the weights are not those of a network of `dims`; "" where they are."""
    try:
        if (layers := getattr(dims, "layers", 0)) > len(state):  # each would have weights of its own
            return f"its card claims {layers} layers"
        with torch.device("meta"):  # shapes without memory
            wanted = {name: tuple(value.shape) for name, value in build_network(dims).state_dict().items()}
    except (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        return f"its dims make none ({' '.join(str(error).split())[:200]})"
    found = {name: tuple(value.shape) for name, value in state.items()}
    if missing := sorted(wanted.keys() - found.keys()):
        return f"{missing[0]} is missing"
    if other := sorted(found.keys() - wanted.keys()):
        return f"there is no {other[0]} in one"
    name = next((name for name in wanted if wanted[name] != found[name]), None)
    return "" if name is None else f"{name} is {found[name]} and would be {wanted[name]}"


def pick_device(device: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a torch device; raises UsageError when CUDA is asked for and absent."""
    has_cuda = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    if device.startswith("cuda") and not has_cuda:
        raise UsageError("--device cuda was asked for, but this machine has no CUDA GPU; use --device cpu.")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise UsageError(f'There is no device called "{device}"; use auto, cpu or cuda.') from error


def read_card(path: Path) -> dict[str, Any]:
    """The card of a .safetensors file; raises ModelError when the file is damaged, or has none."""
    return _read_own(path)[0]


def _read_own(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Card and weights of a .safetensors file."""
    beside = card.beside(path)
    if beside is not None and beside.get("sha256") in (None, file_sha256(path)):
        return beside, _tensors(path)
    inside = card.inside(path)
    if inside is None and beside is None:
        raise ModelError(f"{path} holds no card, and there is none beside it; fetch or train it again.")
    tensors = _tensors(path)
    if inside is None or inside.get("tensors_sha256") != weights_card.tensors_sha256(tensors):
        raise ModelError(
            f"{path} is damaged: its checksum is not the one in its card; fetch or train it again."
        )
    return inside, tensors


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not a readable .safetensors file: {error}") from error


def save(
    path: Path,
    model: Network,
    preprocessing: Preprocessing,
    info: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Writes PATH.safetensors (PATH itself, where it ends so) and the YAML beside it. At any time each is
    whole, and together they load.

    `info` adds entries to the card (training data, licence, calibration). `dtype` float16 halves the file.
    Raises OutputError when they cannot be written."""
    # with_suffix would make "v1.safetensors" of "v1.5"
    target = path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")
    tensors = {
        k: (v.to(dtype) if v.is_floating_point() else v).contiguous().cpu()
        for k, v in model.state_dict().items()
    }
    content = {
        **{key: value for key, value in (info or {}).items() if key not in ("sha256", "tensors_sha256")},
        "format": card.FORMAT,
        "name": target.stem,
        "dims": model.dims.to_dict(),
        "preprocessing": {"channels": preprocessing.channels, "scale": preprocessing.scale},
        "parameters": count_parameters(model),
    }
    file = safetensors.torch.save(tensors, weights_card.metadata(content, tensors))
    write_whole(target, file, what="the checkpoint")
    content["sha256"] = hashlib.sha256(file).hexdigest()
    write_whole(target.with_suffix(".yaml"), card.to_yaml(content), what="the card")
    return target


def describe(name: str | Path) -> dict[str, Any]:
    """What is known of a checkpoint, as plain values: path, size, dims, parameters, licence, calibration."""
    loaded = load(name, "cpu")
    return {
        **loaded.info,
        "name": loaded.name,
        "path": str(loaded.path),
        "megabytes": round(loaded.path.stat().st_size / 1e6, 1),
        "parameters": count_parameters(loaded.model),
        "preprocessing": {"channels": loaded.preprocessing.channels, "scale": loaded.preprocessing.scale},
    }


def convert(source: Path, target: Path) -> Path:
    """Turns one of the authors' .pth files (or a .safetensors of ours) into a checkpoint with a card."""
    loaded = load(source, "cpu")
    info = {
        "converted_from": loaded.path.name,
        "converted_from_sha256": file_sha256(loaded.path),
        **loaded.info,
    }
    return save(target, loaded.model, loaded.preprocessing, info)
