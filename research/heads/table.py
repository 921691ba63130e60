"""Tables of what `study.py` and `mtd.py` wrote: means over clips, and differences with intervals.

python research/heads/table.py RESULTS --against plain-0
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

DRAWS = 4000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--against", required=True)
    given = parser.parse_args()
    found = json.loads(given.results.read_text())
    base = found[given.against]["hits"]
    print("| | K=5 | K=15 | difference, K=5 | K=15 |\n|---|---|---|---|---|")
    for name, row in found.items():
        values = np.array([row["hits"][clip] for clip in base])
        apart = interval(values - np.array(list(base.values())))
        k5, k15 = values.mean(0)
        print(f"| {name} | {k5:.1f} | {k15:.1f} | {apart[0]} | {apart[1]} |")


def interval(differences: npt.NDArray[np.float64]) -> list[str]:
    """The mean of each column of (clips, 2) differences, with its 95 % interval by bootstrap over clips."""
    rng = np.random.default_rng(0)
    drawn = differences[rng.integers(0, len(differences), (DRAWS, len(differences)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [
        f"{m:+.1f} ({a:+.1f} to {b:+.1f})" for m, a, b in zip(differences.mean(0), low, high, strict=True)
    ]


if __name__ == "__main__":
    main()
