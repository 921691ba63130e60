"""Training data in the usual layouts -> a list of clips, each with a split.

Layouts: LRS2 (`mvlrs_v1/main`, `mvlrs_v1/pretrain` or those folders themselves, with lists such as
pretrain.txt), LRS3 (pretrain/trainval/test), either of them prepared by Wav2Lip's scripts (a folder of `0.jpg
...` and `audio.wav` for each clip), any folder of videos, and a CSV with columns path,split[,id].
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from avsync.core.constants import VIDEO_SUFFIXES
from avsync.core.errors import MediaError, UsageError
from avsync.data.labels import speaker

SPLIT_NAMES = {
    "pretrain": "pretrain",
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders and CSV values -> the split they mean."""
TRAINING = ("pretrain", "train")
"""Splits to train on unless a recipe names others."""
HELD_OUT = 0.1
"""Share of the speakers held out for validation if the data has no validation split."""


@dataclass(frozen=True)
class Source:
    """One clip to prepare: `path` is a video file, or a folder of face images with audio.wav."""

    id: str
    split: str
    path: Path


def find_sources(data: Path) -> list[Source]:
    """All clips under `data`, sorted by split and id.

    Raises:
        UsageError: `data` does not exist.
        MediaError: nothing in it is a clip.
    """
    data = data.expanduser()
    if not data.exists():
        raise UsageError(
            f"There is no training data at {data}; give --data a folder of videos or a CSV file."
        )
    if data.is_file():
        sources = list(_from_csv(data))
    else:
        root = data / "mvlrs_v1" if (data / "mvlrs_v1").is_dir() else data
        sources = _from_lists(root) or _from_folder(root)
    if not sources:
        raise MediaError(f"{data} holds no clips: neither videos nor folders of 0.jpg with audio.wav.")
    return sorted(dict.fromkeys(sources), key=lambda s: (s.split, s.id))


def _from_lists(root: Path) -> list[Source]:
    """Clips named by NAME.txt lists, one per split. The lists are in the folder itself or, if that is one of
    LRS2's own (`mvlrs_v1`, `main`, `pretrain`), in a folder above."""
    above = {"mvlrs_v1": 1, "main": 2, "pretrain": 2}.get(root.name, 0)
    for folder in [root, *root.parents[:above]]:
        lists = {p.stem: read_ids(p) for p in sorted(folder.glob("*.txt")) if not p.name.startswith("._")}
        roots = {name: _clip_root(root, name, ids) for name, ids in lists.items()}
        if any(roots.values()):
            return [Source(i, name, locate(r, i)) for name, r in roots.items() if r for i in lists[name]]
    return []


def _clip_root(root: Path, name: str, ids: list[str]) -> Path | None:
    """The folder that holds the ids of the list `name`: one named like the list, `main`, or `root`. None if
    none of the first ids exists, so that other text files are not taken for lists."""
    beside = [root.parent / name] if root.name in ("main", "pretrain") else []
    for folder in (root / name, root / "main", root, *beside):
        if any(locate(folder, clip).exists() for clip in ids[:100]):
            return folder
    return None


def read_ids(path: Path) -> list[str]:
    """Ids of a list: the first word of each line, so that "ID NF" lines work; # starts a comment."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = (line.split("#", 1)[0].split() for line in text.splitlines())
    return [words[0] for words in lines if words]


def locate(folder: Path, clip: str) -> Path:
    """The path of a listed clip: a prepared folder, else a video with any suffix, else the .mp4 that is
    missing."""
    stem = folder / clip
    if is_prepared(stem):
        return stem
    candidates = (stem.with_name(stem.name + suffix) for suffix in (".mp4", *VIDEO_SUFFIXES))
    return next((path for path in candidates if path.is_file()), stem.with_name(stem.name + ".mp4"))


def is_prepared(folder: Path) -> bool:
    """Whether a folder is a clip prepared by Wav2Lip's scripts: images 0.jpg, 1.jpg ... and audio.wav."""
    return (folder / "audio.wav").is_file() and (folder / "0.jpg").is_file()


def _clips_below(root: Path) -> Iterator[Path]:
    """Video files and prepared folders anywhere below `root`."""
    for name, _, files in sorted(os.walk(root)):
        folder = Path(name)
        if "audio.wav" in files and "0.jpg" in files:
            yield folder
            continue
        # macOS leaves ._NAME beside every file that it copies to other file systems.
        shown = (f for f in sorted(files) if not f.startswith("._"))
        yield from (folder / f for f in shown if Path(f).suffix.lower() in VIDEO_SUFFIXES)


def _from_folder(root: Path) -> list[Source]:
    """Splits named by the first folder below `root`; without a validation split, some speakers (folders of
    clips) are held out for it."""
    found = []
    for path in _clips_below(root):
        parts = path.relative_to(root).with_suffix("" if path.is_file() else path.suffix).parts
        split = SPLIT_NAMES.get(parts[0].lower()) if len(parts) > 1 else None
        found.append(Source("/".join(parts[1:] if split else parts), split or "train", path))
    return with_validation(found)


def with_validation(sources: Iterable[Source], share: float = HELD_OUT) -> list[Source]:
    """Hold out speakers as "val" if there is no such split. The choice depends on the speaker's name alone,
    so it is the same in every run and for pretrain and train."""
    sources = list(sources)
    training = [s for s in sources if s.split in TRAINING]
    if any(s.split == "val" for s in sources) or not training:
        return sources
    speakers = sorted({speaker(s) for s in training}, key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(speakers) < 2:
        return sources
    held = set(speakers[: max(1, round(share * len(speakers)))])
    # LRS3 cuts the same talks for pretrain and trainval: a held-out speaker is removed from both, and the
    # short clips of trainval are used for validation.
    validated = "train" if any(s.split == "train" for s in training) else "pretrain"
    rest = [s for s in sources if s.split not in TRAINING or speaker(s) not in held]
    return rest + [replace(s, split="val") for s in training if s.split == validated and speaker(s) in held]


def _from_csv(path: Path) -> Iterator[Source]:
    """Rows of a CSV; relative paths start at the CSV's folder."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not a CSV file; give --data a folder of videos or a CSV file."
        ) from error
    try:
        yield from _rows(path, text)
    except csv.Error as error:
        raise UsageError(f"{path} is not a CSV file: {error}.") from error


def _rows(path: Path, text: str) -> Iterator[Source]:
    rows = csv.DictReader(io.StringIO(text))
    if rows.fieldnames is None or not {"path", "split"} <= set(rows.fieldnames):
        raise UsageError(f"{path} needs a header line with the columns path and split (and id, if you like).")
    for number, row in enumerate(rows, 2):
        split = SPLIT_NAMES.get((row["split"] or "").strip().lower(), (row["split"] or "").strip())
        if not row["path"] or not split:
            raise UsageError(f"Line {number} of {path} lacks a path or a split.")
        if "\0" in row["path"]:
            raise UsageError(f"Line {number} of {path} names no file: the path holds a zero byte.")
        clip = path.parent / row["path"]
        yield Source(row.get("id") or row["path"], split, clip)
