"""Results published in the papers, for comparison. None of them was measured here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from avsync.evaluation.protocol import FRAMES_K

MTD_PAPER = "MTDVocaLiST's Table 1, LRS2"


@dataclass(frozen=True)
class Published:
    """One row: accuracy in percent by input length of FRAMES_K, None if unknown; parameters in millions."""

    name: str
    parameters_m: float | None
    accuracy: tuple[float | None, ...]
    source: str


def _table_1(name: str, parameters_m: float, *accuracy: float) -> Published:
    return Published(name, parameters_m, accuracy, MTD_PAPER)


def _at_5(name: str, accuracy: float, source: str) -> Published:
    return Published(name, None, (accuracy, *[None] * (len(FRAMES_K) - 1)), source)


STUDENT_M = 13.3
ROWS = (
    _table_1("SyncNet", 13.6, 75.8, 82.3, 87.6, 91.8, 94.5, 96.1),
    _table_1("Perfect Match", 13.6, 88.1, 93.8, 96.4, 97.9, 98.7, 99.1),
    _table_1("AVST", 42.4, 92.0, 95.5, 97.7, 98.8, 99.3, 99.6),
    _table_1("VocaLiST", 80.1, 92.8, 96.7, 98.4, 99.3, 99.6, 99.8),
    _table_1("student, BCE", STUDENT_M, 71.36, 81.44, 88.84, 93.41, 96.19, 97.69),
    _table_1("student, KD", STUDENT_M, 80.87, 88.62, 93.48, 96.32, 97.90, 98.82),
    _table_1("student, RKD", STUDENT_M, 86.06, 92.42, 95.95, 97.80, 98.75, 99.29),
    _table_1("student, MiniLM*", STUDENT_M, 85.60, 92.03, 95.91, 97.72, 98.72, 99.25),
    _table_1("student, FitNets", STUDENT_M, 90.81, 95.48, 97.77, 98.81, 99.42, 99.66),
    _table_1("MTDVocaLiST", STUDENT_M, 91.45, 95.75, 97.99, 98.95, 99.46, 99.68),
    _at_5("ModEFormer", 94.5, "arXiv 2303.11551, LRS2"),
    _at_5("ModEFormer, LRS3", 90.9, "arXiv 2303.11551, LRS3"),
    Published(
        "UniSync", None, (None,) * len(FRAMES_K), "arXiv 2503.16357, LRS2: 94.27 %, input length not known"
    ),
)


NOTE = (
    "Published rows are as their papers print them, on LRS2 unless they say otherwise; none was measured "
    "here. UniSync (arXiv 2503.16357) prints 94.27 % on LRS2; our source does not say for which input length."
)


def as_dict(row: Published) -> dict[str, Any]:
    """Plain values for JSON."""
    accuracy = {str(k): a for k, a in zip(FRAMES_K, row.accuracy, strict=True)}
    return {**asdict(row), "accuracy": accuracy, "published": True}
