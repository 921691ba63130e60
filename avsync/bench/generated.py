"""How well generated talking heads are in sync: LSE-D and LSE-C by SyncNet, as in the field, or the
counterparts of another model under its own name, beside the offset and its probability."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from avsync import api
from avsync.core.constants import Device
from avsync.core.errors import AvsyncError, UsageError
from avsync.core.report import Report, TrackReport
from avsync.networks.checkpoint import load
from avsync.report.reasons import reason_words

RESAMPLINGS = 1000
LSE = ("LSE-D", "LSE-C")
"""Lip-sync error in Wav2Lip's evaluation: SyncNet's smallest mean distance (low is good), and how far it is
below the median over the 31 offsets (high is good)."""


@dataclass(frozen=True)
class Face:
    """A face of a video: when it is visible (s), how many windows were judged, its offset in ms (None: none
    was found) with the probability (0..1), and its measures by name."""

    track: int
    start_s: float
    end_s: float
    windows: int
    offset_ms: float | None
    probability: float
    measures: Mapping[str, float]


@dataclass(frozen=True)
class Video:
    """A video, its verdict, and its faces; `message` says why it could not be checked."""

    path: Path
    verdict: str
    faces: tuple[Face, ...] = ()
    message: str = ""

    @property
    def main(self) -> Face | None:
        """The face that is visible longest."""
        return max(self.faces, key=lambda face: face.windows, default=None)


def measured(
    paths: Sequence[Path], model: str, syncnet: str | None = None, device: Device = "auto"
) -> Iterator[Video]:
    """Measure every video in turn.

    `model` gives offset and probability; `syncnet`, a SyncNet checkpoint, gives LSE-D and LSE-C, or if it is
    None, `model` gives its own measures. Raises UsageError if `syncnet` is another network, ModelError if a
    checkpoint cannot be used.
    """
    if syncnet is not None and load(syncnet, "cpu").model.family != "syncnet":
        raise UsageError(f"{syncnet} is not a SyncNet, which LSE-D and LSE-C need; omit --syncnet.")
    for path in paths:
        try:
            report = api.check(path, model=model, device=device, sample="exhaustive")
            video = of_report(path, report, name_of(model))
            if syncnet is not None:
                video = with_lse(
                    video, api.check(path, model=syncnet, device=device, stride=1, sample="exhaustive")
                )
            yield video
        except AvsyncError as error:  # one bad file stops nothing
            yield Video(path, "error", message=str(error))


def name_of(model: str) -> str:
    """The name of a model's measures."""
    return Path(model).stem if "/" in model or "." in model else model


def of_report(path: Path, report: Report, name: str) -> Video:
    """A video from the report of a check with the model `name`."""
    message = "" if report.tracks else "; ".join(map(reason_words, report.reasons))
    return Video(
        path, report.verdict, tuple(_face(track, name) for track in report.tracks if track.windows), message
    )


def _face(track: TrackReport, name: str) -> Face:
    offset = track.offset
    return Face(
        *(track.track, track.start_s, track.end_s, track.windows),
        None if offset is None else offset.offset_ms,
        0.0 if offset is None else offset.probability,
        lse(track) or own_measures(track, name),
    )


def lse(track: TrackReport) -> dict[str, float]:
    """LSE-D and LSE-C of a face that SyncNet judged; empty otherwise."""
    found = track.syncnet
    return {} if found is None else dict(zip(LSE, (found.distance, found.confidence), strict=True))


def own_measures(track: TrackReport, name: str) -> dict[str, float]:
    """The counterparts for a model that is not SyncNet, from its mean curve over the offsets: the "peak" at
    the best offset, and its "margin" above the median. High is good for both. They are in the model's own
    units and cannot be compared with LSE or between models."""
    curve = np.zeros(0) if track.offset is None else np.asarray(track.offset.curve, np.float64)
    if not np.isfinite(curve).any():
        return {}
    peak = float(np.nanmax(curve))
    return {f"{name} peak": peak, f"{name} margin": peak - float(np.nanmedian(curve))}


def with_lse(video: Video, by_syncnet: Report) -> Video:
    """The video with SyncNet's measures of the same faces instead of the model's."""
    found = {round(track.start_s, 2): lse(track) for track in by_syncnet.tracks}
    faces = (replace(face, measures=found.get(round(face.start_s, 2), {})) for face in video.faces)
    return replace(video, faces=tuple(faces))


def summarise(videos: Sequence[Video]) -> dict[str, Any]:
    """Over the main faces: for each measure, the absolute offset and its probability, the number of values,
    mean, median and the 95 % bootstrap interval of the mean."""
    mains = [face for video in videos if (face := video.main)]
    columns: dict[str, list[float]] = {}
    for face in mains:
        for name, value in face.measures.items():
            columns.setdefault(name, []).append(value)
        if face.offset_ms is not None:
            columns.setdefault("offset, absolute, ms", []).append(abs(face.offset_ms))
            columns.setdefault("probability", []).append(face.probability)
    return {
        "videos": len(videos),
        "with_a_face": len(mains),
        "measures": {name: _figures(values) for name, values in columns.items()},
    }


def _figures(values: Sequence[float]) -> dict[str, float | int]:
    column = np.asarray(values, np.float64)
    drawn = np.random.default_rng(0).integers(0, len(column), (RESAMPLINGS, len(column)))
    low, high = np.quantile(column[drawn].mean(axis=1), [0.025, 0.975])
    figures = {"mean": column.mean(), "median": np.median(column), "low": low, "high": high}
    return {"count": len(column), **{name: round(float(value), 4) for name, value in figures.items()}}


def as_dict(video: Video) -> dict[str, Any]:
    """Plain values for JSON."""
    faces = [{**vars(face), "measures": dict(face.measures)} for face in video.faces]
    return {"path": str(video.path), "verdict": video.verdict, "message": video.message, "faces": faces}


def to_csv(videos: Sequence[Video]) -> str:
    """A row for every face, and one for each video without faces."""
    names = list(dict.fromkeys(n for video in videos for face in video.faces for n in face.measures))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        [
            "path",
            "verdict",
            "face",
            "start_s",
            "end_s",
            "windows",
            "offset_ms",
            "probability",
            *names,
            "message",
        ]
    )
    for video in videos:
        for face in video.faces:
            own = [face.track, f"{face.start_s:.3f}", f"{face.end_s:.3f}", face.windows]
            offset = ["" if face.offset_ms is None else f"{face.offset_ms:.1f}", f"{face.probability:.4f}"]
            measures = [f"{face.measures[n]:.4f}" if n in face.measures else "" for n in names]
            rows.writerow([video.path, video.verdict, *own, *offset, *measures, ""])
        if not video.faces:
            rows.writerow([video.path, video.verdict, *[""] * (6 + len(names)), video.message])
    return text.getvalue()
