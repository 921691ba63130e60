"""Checkpoints: find them by name or path, verify, load, save and convert.

Our own are NAME.safetensors beside NAME.yaml (dims, preprocessing, calibration, training data,
sha256, licence). The pickles of the papers' authors are read by `public`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import platformdirs
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from avsync.core.errors import ModelError, UsageError
from avsync.networks.base import Network, Preprocessing, count_parameters
from avsync.networks.registry import AnyDims, build_network, dims_from
from avsync.networks.zoo import PUBLIC, read_public, recognise

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the YAML beside a checkpoint."""


@dataclass(frozen=True)
class Loaded:
    """A network ready to score. `calibration` are plain numbers for `offset.Calibration` (empty: none
    was fitted for it); `info` is everything the YAML says."""

    name: str
    path: Path
    model: Network
    preprocessing: Preprocessing
    calibration: Mapping[str, Any]
    device: torch.device
    info: Mapping[str, Any] = field(default_factory=dict)


def folders() -> tuple[Path, ...]:
    """Where names are looked up, in order: $AVSYNC_MODELS, the shipped folder, the user's cache."""
    own = os.environ.get("AVSYNC_MODELS")
    return (*([Path(own)] if own else []), shipped_folder(), cache_folder())


def shipped_folder() -> Path:
    """`avsync/models` of an installed wheel, or `models/` of a source checkout."""
    installed = Path(str(files("avsync"))) / "models"
    return installed if installed.is_dir() else installed.parents[1] / "models"


def cache_folder() -> Path:
    """The user's cache of fetched checkpoints."""
    return platformdirs.user_cache_path("avsync") / "models"


def available() -> dict[str, Path]:
    """Every checkpoint that can be loaded by name, with its file; earlier folders win."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.glob("*.safetensors")):
            found.setdefault(path.stem, path)
        for name, public in PUBLIC.items():
            if (folder / public.file).is_file():
                found.setdefault(name, folder / public.file)
    return found


def find(name: str | Path) -> Path:
    """The file of a checkpoint given by name or path; raises ModelError when there is none."""
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix or path.parent != Path():
        raise ModelError(f"There is no checkpoint at {path}; give the path of a .safetensors or .pth file.")
    known = available()
    if str(name) in known:
        return known[str(name)]
    public = PUBLIC.get(str(name))
    if public and public.url:
        raise ModelError(f'The model "{name}" is not on this machine; run: avsync models fetch {name}.')
    if public:
        raise ModelError(
            f'The model "{name}" must be fetched by hand: take {public.file} from {public.where} '
            "and give its path to --model."
        )
    names = ", ".join(sorted(known)) or "none"
    raise ModelError(f'There is no model called "{name}" (found here: {names}); see: avsync models list.')


def load(name: str | Path, device: str = "auto") -> Loaded:
    """The network of a checkpoint, in eval mode on `device` ("auto": CUDA if there is one).

    Raises ModelError when the file is missing, damaged, or not a network that is known here."""
    path = find(name)
    target = pick_device(device)
    if path.suffix == ".safetensors":
        info = read_card(path)
        state = _read_safetensors(path, info.get("sha256"))
        dims, preprocessing = _card_dims(path, info), _card_preprocessing(path, info)
    else:
        state = read_public(path)
        public = recognise(path, state)
        info = {"licence": public.licence, "source": public.where, "dims": public.dims.to_dict()}
        dims, preprocessing = public.dims, public.preprocessing
    model = build(dims, state, path).to(target)
    log.info("loaded %s on %s", path, target)
    return Loaded(path.stem, path, model, preprocessing, info.get("calibration") or {}, target, info)


def build(dims: AnyDims, state: Mapping[str, Tensor], path: Path) -> Network:
    """A network of `dims` with these weights as float32, in eval mode."""
    model = build_network(dims)
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        family = getattr(dims, "family", "VocaLiST")
        detail = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"{path} does not hold the weights of a {family} network: {detail}") from error
    return model.eval()


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
    """The YAML beside a .safetensors file; raises ModelError when it is missing or not one of ours."""
    card = path.with_suffix(".yaml")
    if not card.is_file():
        raise ModelError(f"{path} has no {card.name} beside it; both files together make a checkpoint.")
    try:
        info = yaml.safe_load(card.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"{card} is not readable YAML; fetch or train the checkpoint again.") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ModelError(f"{card} is not an avsync checkpoint card of format {FORMAT}.")
    return info


def _card_dims(path: Path, info: Mapping[str, Any]) -> AnyDims:
    try:
        return dims_from(info["dims"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path.with_suffix('.yaml')} has no usable dims: {error}") from error


def _card_preprocessing(path: Path, info: Mapping[str, Any]) -> Preprocessing:
    try:
        return Preprocessing(**info["preprocessing"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path.with_suffix('.yaml')} does not say how frames are preprocessed.") from error


def _read_safetensors(path: Path, sha256: str | None) -> dict[str, Tensor]:
    if sha256 and file_sha256(path) != sha256:
        raise ModelError(
            f"{path} is damaged: its checksum is not the one in its card; fetch or train it again."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a readable .safetensors file: {error}") from error


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save(
    path: Path,
    model: Network,
    preprocessing: Preprocessing,
    info: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Writes PATH.safetensors (PATH itself, where it ends so) and the YAML beside it, each to a temporary
    file that is renamed when complete.

    `info` adds entries to the card (training data, licence, calibration). `dtype` float16 halves the file."""
    # with_suffix would make "v1.safetensors" of "v1.5"
    target = path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        k: (v.to(dtype) if v.is_floating_point() else v).contiguous().cpu()
        for k, v in model.state_dict().items()
    }
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".avsync-") as folder:
        weights, card = Path(folder) / target.name, Path(folder) / f"{target.stem}.yaml"
        save_file(tensors, weights)
        content = {
            **(info or {}),
            "format": FORMAT,
            "name": target.stem,
            "dims": model.dims.to_dict(),
            "preprocessing": {"channels": preprocessing.channels, "scale": preprocessing.scale},
            "parameters": count_parameters(model),
            "sha256": file_sha256(weights),
        }
        card.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        weights.chmod(card.stat().st_mode)
        weights.replace(target)
        card.replace(target.with_suffix(".yaml"))
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
