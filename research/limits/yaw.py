"""How far the heads of lrs2-mini's clips are turned, as labels for `avsync bench accuracy --groups`.

    python research/limits/yaw.py WORK research/labels/lrs2-mini/yaw.json

WORK holds the landmarks that research/closures/second_opinion.py leaves there (it says what to install). The
label is by the median over a clip's frames of the turn to either side, in degrees; a clip in which MediaPipe
finds no face in a tenth of the frames or more is labelled so.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "closures"))
from second_opinion import HELD, filled

LIMITS_DEG = (15, 30)
LABELS = ("under 15 degrees", "15 to 30", "over 30")
"""No finer above: the mesh is drawn to the front, so a full profile may come out at 40 degrees."""
NONE = "no landmarks"
WORDS = "Arabic words of 1.2 s"
"""Kept apart: all of them are frontal, and too short to be compared with the rest."""
PAIRS = [(33, 263), (133, 362), (127, 356), (70, 300), (105, 334)]
"""The same points of the right and the left half of the face: corners of the eyes, temples, brows."""


def yaw_deg(points: np.ndarray) -> np.ndarray:
    """Landmarks (frames, 478, 3) -> degrees by which the head is turned, positive to the right of the image.

    The line from the right half of the face to the left is the head's own x axis, whatever its shape is."""
    right, left = (points[:, [pair[side] for pair in PAIRS]] for side in (0, 1))
    across = (left - right).mean(1)
    return np.degrees(np.arctan2(across[:, 2], across[:, 0]))


def label(points: np.ndarray | None) -> str:
    if points is None:
        return NONE
    turned = float(np.median(np.abs(yaw_deg(points))))
    return LABELS[int(np.searchsorted(LIMITS_DEG, turned, side="right"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    found: dict[str, list[str]] = {name: [] for name in (WORDS, *LABELS, NONE)}
    for path in sorted(given.work.glob("*.npy")):
        split, _, clip = path.stem.partition("_")
        name = clip.replace("_", "/")
        if split in ("val", "test") or name.startswith(HELD):
            turned = label(filled(np.load(path)))
            found[WORDS if name.startswith("ar") and turned == LABELS[0] else turned].append(name)
    labels = {name: turned for turned, names in found.items() for name in names}
    given.out.write_text(json.dumps(labels, indent=1) + "\n")
    print(", ".join(f"{turned}: {len(names)}" for turned, names in found.items()))


if __name__ == "__main__":
    main()
