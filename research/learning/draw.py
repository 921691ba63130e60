"""Draws docs/learning-curve.png from results.json.

python research/learning/draw.py
"""

import json
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
COLOURS = {"corrected": "C0", "curated": "C1", "stored": "C3"}


def draw(rows: list[dict]) -> Figure:
    """K=5 and K=15 on `val` of wild against the minutes of speech trained on, with 95 % intervals."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, length in zip(figure.subplots(1, 2), ("5", "15"), strict=True):
        start = next(row for row in rows if row["name"] == "avsync-3")
        axes.axhline(start["wild"][length][0], color="0.6", ls="--", lw=1)
        axes.text(1, start["wild"][length][0], "avsync-3", color="0.4", ha="left", va="bottom", fontsize=8)
        for kind, colour in COLOURS.items():
            points = sorted((row["minutes"], *row["wild"][length]) for row in rows if row.get("kind") == kind)
            if not points:
                continue
            x, mean, low, high = zip(*points, strict=True)
            errors = [
                [m - v for m, v in zip(mean, low, strict=True)],
                [v - m for m, v in zip(mean, high, strict=True)],
            ]
            line = "-" if kind == "corrected" else ""
            axes.errorbar(x, mean, errors, color=colour, marker="o", ls=line, lw=1.5, capsize=3, label=kind)
        axes.set_title(f"wild, val: input of {length} frames", loc="left", fontsize=10)
        axes.set(xlabel="minutes of wild trained on, 128 steps each", ylabel="windows within one frame, %")
        axes.set_xlim(0, 45)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=8)
    return figure


if __name__ == "__main__":
    found = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    draw(found).savefig(HERE.parents[1] / "docs" / "learning-curve.png", dpi=120)
