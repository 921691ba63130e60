"""Which checkpoints there are, and where: looked up without torch, which takes two seconds to import.

A command can then say at once that a model is missing, and the process that only hands out the files of a
batch needs neither the time nor the memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import platformdirs

from avsync.core import plugins
from avsync.core.errors import ModelError


@dataclass(frozen=True)
class PublicFile:
    """A checkpoint file of the papers' authors. `url` is None where only a person can fetch it."""

    file: str
    url: str | None
    where: str
    licence: str


PUBLIC_FILES = {
    "mtdvocalist": PublicFile(
        "pure_MTDVocaLiST.pth",
        "https://github.com/xjchenGit/MTDVocaLiST/releases/download/v1.0/pure_MTDVocaLiST.pth",
        "release v1.0 of github.com/xjchenGit/MTDVocaLiST",
        "see github.com/xjchenGit/MTDVocaLiST; trained on LRS2 (BBC, research only)",
    ),
    "vocalist": PublicFile(
        "vocalist_5f_lrs2.pth",
        None,
        "the shared drive folder that the README of github.com/vskadandale/vocalist links to",
        "see github.com/vskadandale/vocalist; trained on LRS2 (BBC, research only)",
    ),
    "syncnet": PublicFile(
        "syncnet_v2.model",
        None,
        "the script download_model.sh of github.com/joonson/syncnet_python",
        "see github.com/joonson/syncnet_python",
    ),
}


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
        for name, public in PUBLIC_FILES.items():
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
    public = PUBLIC_FILES.get(str(name))
    if public and public.url:
        raise ModelError(f'The model "{name}" is not on this machine; run: avsync models fetch {name}.')
    if public:
        raise ModelError(
            f'The model "{name}" must be fetched by hand: take {public.file} from {public.where} '
            "and give its path to --model."
        )
    names = ", ".join(sorted({*known, *plugins.names("avsync.models")})) or "none"
    raise ModelError(f'There is no model called "{name}" (found here: {names}); see: avsync models list.')


def require(name: str | Path) -> None:
    """Raises ModelError where `checkpoint.load` would find nothing under that name."""
    if not is_brought(name):
        find(name)


def is_brought(name: str | Path) -> bool:
    """Whether another package brings a model of that name, and none is here."""
    here = Path(name).is_file() or str(name) in available()
    return not here and str(name) in plugins.names("avsync.models")
