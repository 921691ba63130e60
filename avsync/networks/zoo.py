"""The public models of the papers' authors: which there are, and how their files are read.

The files are pickles, with the weights of VocaLiST and MTDVocaLiST under "state_dict"; they are opened with
`weights_only=True`, never otherwise.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from avsync.core.errors import ModelError
from avsync.networks.base import Preprocessing
from avsync.networks.dims import STUDENT, TEACHER, Dims
from avsync.networks.library import PUBLIC_FILES, PublicFile
from avsync.networks.registry import AnyDims
from avsync.networks.syncnet import SyncNetDims


@dataclass(frozen=True)
class PublicModel:
    """A model of the papers' authors, and the file of its weights."""

    source: PublicFile
    dims: AnyDims
    preprocessing: Preprocessing


PUBLIC: dict[str, PublicModel] = {
    "mtdvocalist": PublicModel(PUBLIC_FILES["mtdvocalist"], STUDENT, Preprocessing("rgb", 1.0)),
    "vocalist": PublicModel(PUBLIC_FILES["vocalist"], TEACHER, Preprocessing("bgr", 1 / 255)),
    "syncnet": PublicModel(PUBLIC_FILES["syncnet"], SyncNetDims(crop="face"), Preprocessing("bgr", 1.0)),
}


def read_public(path: Path) -> dict[str, Tensor]:
    """State dict of one of the authors' pickled files, without running any code in it. What it holds is no
    larger than the file itself."""
    if _inflates(path):
        raise ModelError(f"{path} holds more than its size allows; it was not opened further.")
    try:
        with warnings.catch_warnings(action="ignore"):  # of unusual pickles, which are refused or read
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or hostile pickle
        raise ModelError(
            f"{path} is not a PyTorch file of plain weights; it was not opened further."
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(map(_is_weight, state.items())):
        raise ModelError(f'{path} holds no weights under "state_dict".')
    return {key.removeprefix("module."): value for key, value in state.items()}


def _inflates(path: Path) -> bool:
    """Whether a file is a zip archive of more than itself: one of 14 MB can hold 3.5 GB."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # older files are no archives
        return False
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    return not stored or sum(member.file_size for member in members) > path.stat().st_size


def _is_weight(entry: tuple[object, object]) -> bool:
    key, value = entry
    return isinstance(key, str) and isinstance(value, Tensor) and value.layout == torch.strided


def recognise(path: Path, state: Mapping[str, Tensor]) -> PublicModel:
    """Which of the public models the weights are of; raises ModelError when of none."""
    if "netcnnlip.0.weight" in state:
        return PUBLIC["syncnet"]
    width = next(iter(state["fc.weight"].shape), None) if "fc.weight" in state else None
    for public in PUBLIC.values():
        if isinstance(public.dims, Dims) and public.dims.d_model == width:
            return public
    raise ModelError(
        f"{path} is neither a VocaLiST nor an MTDVocaLiST checkpoint (no layer fc of width 512 or 200), "
        "nor SyncNet's (no netcnnlip)."
    )
