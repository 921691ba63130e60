"""Kept and dropped stretches as CSV files for `train --data`, `check` and spreadsheets."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from avsync.core.files import Kind, write_whole
from avsync.curate.select import Dropped, Selection, Stretch

KEPT = (
    *("path", "split", "id", "source", "start_s", "end_s", "track", "offset_ms", "uncertainty_ms"),
    *("probability", "speaking", "speech_share", "face_px"),
)
DROPPED = ("source", "start_s", "end_s", "why")
LIST = Kind(
    "list of stretches",
    lambda head: head.lstrip(b"\xef\xbb\xbf").startswith((b"path,split,id,source", b"source,start_s")),
)


def dropped_path(target: Path) -> Path:
    """Path of the list of dropped stretches: `clips.csv` -> `clips.dropped.csv`."""
    return target.with_name(f"{target.stem}.dropped{target.suffix}")


def write_lists(target: Path, found: Mapping[Path, Selection], folder: Path | None) -> None:
    """Write the list of kept stretches to `target`, and that of dropped ones beside it.

    The column `path` names the clip in `folder`, or the video itself if none were cut. Raises OutputError.
    """
    kept = [
        _row(video, stretch, target.resolve().parent, folder)
        for video, selection in found.items()
        for stretch in selection.kept
    ]
    lost = [
        (str(video), f"{part.start_s:.3f}", f"{part.end_s:.3f}", part.why)
        for video, selection in found.items()
        for part in selection.dropped
    ]
    write_whole(target, _csv(KEPT, kept), what="the list")
    write_whole(dropped_path(target), _csv(DROPPED, lost), what="the list")


def clip_path(folder: Path, video: Path, stretch: Stretch) -> Path:
    """Path of a stretch's clip in the folder of clips."""
    return folder / f"{clip_id(video, stretch)}.mp4"


def _row(video: Path, stretch: Stretch, beside: Path, folder: Path | None) -> tuple[str, ...]:
    return (
        _seen_from(beside, video if folder is None else clip_path(folder, video, stretch)),
        "train",
        clip_id(video, stretch),
        str(video),
        f"{stretch.start_s:.3f}",
        f"{stretch.end_s:.3f}",
        str(stretch.track),
        f"{stretch.offset_ms:.1f}",
        "" if stretch.uncertainty_ms is None else f"{stretch.uncertainty_ms:.1f}",
        f"{stretch.probability:.3f}",
        f"{stretch.speaking:.3f}",
        f"{stretch.speech_share:.2f}",
        f"{stretch.face_px:.0f}",
    )


def clip_id(video: Path, stretch: Stretch) -> str:
    """The id of a stretch: a folder for its video, a name for its time and offset, so that no other stretch
    or correction has the same id."""
    recording = hashlib.sha256(os.fsencode(video.resolve())).hexdigest()[:8]
    place = f"{1000 * stretch.start_s:08.0f}-{1000 * stretch.end_s:08.0f}{stretch.offset_ms:+05.0f}"
    return f"{video.stem}-{recording}/{place}"


def _seen_from(folder: Path, path: Path) -> str:
    """A path relative to the folder of the list if it is inside, else absolute."""
    whole = path.resolve()
    return os.fspath(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def seconds_by_reason(found: Iterable[Selection]) -> dict[str, float]:
    """Seconds of dropped speech by reason, most first."""
    total: dict[str, float] = {}
    for part in (part for selection in found for part in selection.dropped):
        total[part.why] = total.get(part.why, 0.0) + _length(part)
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def seconds_kept(found: Iterable[Selection]) -> float:
    """Seconds of kept video."""
    return sum(_length(part) for selection in found for part in selection.kept)


def _length(part: Stretch | Dropped) -> float:
    return part.end_s - part.start_s
