"""The public models of the papers' authors: which there are, and how their files are read.

The files are pickles, with the weights of VocaLiST and MTDVocaLiST under "state_dict"; they are opened with
`weights_only=True`, never otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from avsync.core.errors import ModelError
from avsync.networks.base import Preprocessing
from avsync.networks.registry import AnyDims
from avsync.networks.syncnet import SyncNetDims
from avsync.networks.vocalist import STUDENT, TEACHER, Dims


@dataclass(frozen=True)
class PublicModel:
    """A checkpoint of the papers' authors. `url` is None where only a person can fetch it."""

    file: str
    dims: AnyDims
    preprocessing: Preprocessing
    url: str | None
    where: str
    licence: str


PUBLIC: dict[str, PublicModel] = {
    "mtdvocalist": PublicModel(
        "pure_MTDVocaLiST.pth",
        STUDENT,
        Preprocessing("rgb", 1.0),
        "https://github.com/xjchenGit/MTDVocaLiST/releases/download/v1.0/pure_MTDVocaLiST.pth",
        "release v1.0 of github.com/xjchenGit/MTDVocaLiST",
        "see github.com/xjchenGit/MTDVocaLiST; trained on LRS2 (BBC, research only)",
    ),
    "vocalist": PublicModel(
        "vocalist_5f_lrs2.pth",
        TEACHER,
        Preprocessing("bgr", 1 / 255),
        None,
        "the shared drive folder that the README of github.com/vskadandale/vocalist links to",
        "see github.com/vskadandale/vocalist; trained on LRS2 (BBC, research only)",
    ),
    "syncnet": PublicModel(
        "syncnet_v2.model",
        SyncNetDims(crop="face"),
        Preprocessing("bgr", 1.0),
        None,
        "the script download_model.sh of github.com/joonson/syncnet_python",
        "see github.com/joonson/syncnet_python",
    ),
}


def read_public(path: Path) -> dict[str, Tensor]:
    """State dict of one of the authors' pickled files, without running any code in it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or hostile pickle
        raise ModelError(
            f"{path} is not a PyTorch file of plain weights; it was not opened further."
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f'{path} holds no weights under "state_dict".')
    return {key.removeprefix("module."): value for key, value in state.items()}


def recognise(path: Path, state: Mapping[str, Tensor]) -> PublicModel:
    """Which of the public models the weights are of; raises ModelError when of none."""
    if "netcnnlip.0.weight" in state:
        return PUBLIC["syncnet"]
    width = state["fc.weight"].shape[0] if "fc.weight" in state else None
    for public in PUBLIC.values():
        if isinstance(public.dims, Dims) and public.dims.d_model == width:
            return public
    raise ModelError(
        f"{path} is neither a VocaLiST nor an MTDVocaLiST checkpoint (no layer fc of width 512 or 200), "
        "nor SyncNet's (no netcnnlip)."
    )
