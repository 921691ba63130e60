"""A crude second opinion on recordings of wild that needs no network, no landmarks and no text.

How dark the middle of the mouth is, which follows its opening, is held against the loudness, and how much
the mouth crop changes against how much the loudness does. The sum of the two correlations, over all clips of
a recording, has a peak at the offset where there is enough of them.

    avsync train --data BOTH --config avsync-4 --cache CACHE --prepare-only  # BOTH: see avsync-4-stages.md
    python research/closures/pixels.py CACHE ../shared/wild/manifest.csv

Prints for each recording the offset in ms (positive: the audio is early), the height of its peak in robust
standard deviations, and what `research/labels/val-delays.json` has.
"""

import argparse
from pathlib import Path

import numpy as np

from avsync.data.labels import delay_of, read_delays, read_recordings
from avsync.data.shards import Store

LABELS = Path(__file__).parents[1] / "labels" / "val-delays.json"
STEP_MS = 10
LAGS = np.arange(-60, 61)
LEAST_S = 8.0
"""Seconds of clips that a recording must have."""


def lips(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mouth crops (n, 48, 96, 3) -> how open they look, and how much they change, (n,) each."""
    grey = frames.astype(np.float32).mean(3)
    grey = (grey - grey.mean((1, 2), keepdims=True)) / (grey.std((1, 2), keepdims=True) + 1e-3)
    middle = grey[:, 8:40, 28:68].reshape(len(grey), -1)
    darkest = middle.shape[1] // 8
    moved = np.abs(np.diff(grey, axis=0)).mean((1, 2))
    return -np.partition(middle, darkest, axis=1)[:, :darkest].mean(1), np.concatenate([moved[:1], moved])


def loudness(wave: np.ndarray) -> np.ndarray:
    """16-bit samples at 16 kHz -> log RMS of every 10 ms."""
    blocks = wave[: len(wave) // 160 * 160].reshape(-1, 160).astype(np.float32) / 32768
    return np.log(np.sqrt((blocks**2).mean(1)) + 1e-3)


def level(x: np.ndarray) -> np.ndarray:
    """Without what changes slower than a second, in standard deviations."""
    slow = np.convolve(np.pad(x, 50, mode="edge"), np.ones(101) / 101, "valid")
    return (x - slow - (x - slow).mean()) / ((x - slow).std() + 1e-9)


def correlations(seen: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Of what is seen in each frame and heard in each 10 ms, with the audio early by each of LAGS."""
    times = (np.arange(len(heard)) + 0.5) * STEP_MS
    b = level(np.interp(times, np.arange(len(seen)) * 40 + 20, seen))
    a = level(np.convolve(level(heard), np.ones(7) / 7, "same"))
    found = []
    for lag in LAGS:
        x, y = a[max(0, -lag) : len(a) - max(0, lag)], b[max(0, lag) : len(b) - max(0, -lag)]
        found.append((x * y).mean() if len(x) > 50 else np.nan)
    return np.array(found)


def clip_curve(frames: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """The sum of both correlations at each of LAGS."""
    opened, moved = lips(frames)
    loud = loudness(wave)
    rises = np.abs(np.gradient(np.convolve(level(loud), np.ones(5) / 5, "same")))
    return correlations(opened, loud) + correlations(moved, rises)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="wildval")
    given = parser.parse_args()
    recorded, known = read_recordings(given.manifest), read_delays(str(LABELS))
    store = Store(given.cache, [given.split], min_windows=2)
    pools: dict[str, list[tuple[float, np.ndarray, float | None]]] = {}
    for index, clip in enumerate(store.clips):
        if clip.frames >= 50:
            entry = (
                clip.frames / 25,
                clip_curve(store.mouths(index), store.wave(index)),
                delay_of(clip, known),
            )
            pools.setdefault(recorded[clip.id].recording, []).append(entry)
    for name, clips in sorted(pools.items()):
        if sum(seconds for seconds, *_ in clips) < LEAST_S:
            continue
        curve = np.nansum([seconds * c for seconds, c, _ in clips], axis=0)
        middle = np.median(curve)
        height = (curve.max() - middle) / (1.4826 * np.median(np.abs(curve - middle)) + 1e-9)
        delays = [delay for *_, delay in clips if delay is not None]
        told = f"{np.median(delays):+.0f}" if delays else "-"
        print(f"{name} {STEP_MS * LAGS[curve.argmax()]:+5d} ms, height {height:.1f}, avsync-3 {told}")


if __name__ == "__main__":
    main()
