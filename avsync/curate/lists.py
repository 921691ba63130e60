"""What is kept, and what is not, as CSV files that `train --data`, `check` and spreadsheets read."""

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
    """Where the list of what was dropped lies: `clips.csv` -> `clips.dropped.csv`."""
    return target.with_name(f"{target.stem}.dropped{target.suffix}")


def write_lists(target: Path, found: Mapping[Path, Selection], folder: Path | None) -> None:
    """Write the list of the stretches kept at `target`, and that of the others beside it.

    `path` names the clip in `folder`, or where none were cut the video itself. Raises OutputError.
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
    """Where the clip of a stretch lies in the folder of clips."""
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
    """The id of a stretch: a folder for its video, a name for its place and offset. Another stretch, or one
    put right by another offset, has another id."""
    recording = hashlib.sha256(os.fsencode(video.resolve())).hexdigest()[:8]
    place = f"{1000 * stretch.start_s:08.0f}-{1000 * stretch.end_s:08.0f}{stretch.offset_ms:+05.0f}"
    return f"{video.stem}-{recording}/{place}"


def _seen_from(folder: Path, path: Path) -> str:
    """A path relative to the folder of the list where it lies in it, else absolute."""
    whole = path.resolve()
    return os.fspath(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def seconds_by_reason(found: Iterable[Selection]) -> dict[str, float]:
    """Seconds of speech that were not kept, by why, most first."""
    total: dict[str, float] = {}
    for part in (part for selection in found for part in selection.dropped):
        total[part.why] = total.get(part.why, 0.0) + _length(part)
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def seconds_kept(found: Iterable[Selection]) -> float:
    """Seconds of video that are kept."""
    return sum(_length(part) for selection in found for part in selection.kept)


def _length(part: Stretch | Dropped) -> float:
    return part.end_s - part.start_s
