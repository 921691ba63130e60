"""The plan of MTDVocaLiST's experiments: the networks that each table and figure shows, how each is trained,
and at which size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avsync.distill.losses import LAYERS

TEACHER = "vocalist"
PARTS = ("table1", "table2", "fig2", "fig3", "fig4")


@dataclass(frozen=True)
class Scale:
    """The size of an experiment: `dims` by architecture (empty: the paper's), `settings` of every run, those
    of single runs in `own`, and the number of test clips (0: all).

    `note` is its description in figures. `front`: settings of a run from whose front-ends all students start;
    None: they start from random weights, as in the paper.
    """

    note: str
    dims: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    front: Mapping[str, Any] | None = None
    limit: int = 0


_TINY_STUDENT = {
    "front_end": "frame2d", "channels": [8, 8, 16, 24, 32], "d_model": 32, "heads": 4, "layers": 4,
    "contrast": 64,
}  # fmt: skip
_TINY_TEACHER = {**_TINY_STUDENT, "channels": [8, 16, 24, 32, 48], "d_model": 48}
_DENSE = {
    "objective": "dense", "method": "bce", "batch": 8, "samples_per_epoch": 800, "validation_stride": 16,
    "select": "within_1",
}  # fmt: skip

SCALES: dict[str, Scale] = {
    "paper": Scale("paper's sizes"),
    "tiny": Scale(
        "tiny networks, 1,920 pairs each",
        dims={
            "mtdvocalist": _TINY_STUDENT,
            "vocalist": _TINY_TEACHER,
            "syncnet": {"family": "syncnet", "width": 0.125},
            "perfect-match": {"family": "perfect-match", "width": 0.125},
            "avst": {"family": "avst", "channels": [4, 8, 8, 16, 32], "heads": 4, "layers": 2},
        },
        settings={
            "batch": 32, "samples_per_epoch": 480, "epochs": 4, "optimizer": "adamw", "lr": 1e-3,
            "warmup_epochs": 0, "schedule": "cosine", "clip_norm": 2.0, "validation_draws": 2,
            "validation_clips": 4, "preprocessing": {"channels": "rgb", "scale": 1 / 255}, "log_steps": 5,
        },
        own={
            TEACHER: {
                **_DENSE, "epochs": 4,
                "dense": {"frames": 45, "anchors": 2, "candidates": 9, "contrast": 1.0, "front_lr": 1.0},
            }
        },
        front={
            **_DENSE, "epochs": 3, "lr": 2e-3, "validation_epochs": 3, "student": _TINY_STUDENT,
            "dense": {"frames": 45, "anchors": 0, "contrast": 1.0, "front_lr": 1.0},
        },
        limit=20,
    ),
}  # fmt: skip
"""Sizes by name. "tiny" shows on two cores that everything works. Since so few pairs teach nothing from
random weights, its teacher learns by dense supervision, and all students start from the same front-ends,
trained that way without a teacher."""

STUDENTS: dict[str, dict[str, Any]] = {
    "bce": {"method": "bce"},
    "kd": {"method": "kd"},
    "rkd": {"method": "rkd"},
    "minilm": {"method": "minilm"},
    "fitnets": {"method": "fitnets"},
    "mtd": {"method": "mtd", "weighting": "uw25", "validation_losses": True},
    "nmtd": {"method": "nmtd"},
    "nmtd-without-vr": {"method": "nmtd", "terms": "cad"},
    "nmtd-without-cad": {"method": "nmtd", "terms": "vr"},
    **{f"layer-{layer}": {"method": "nmtd", "layers": layer} for layer in LAYERS},
    **{f"mtd-{kind}": {"method": "mtd", "weighting": kind} for kind in ("aw13", "aw25", "uw13")},
}
"""Students by run, with the settings in which they differ."""
OTHERS: dict[str, dict[str, Any]] = {
    name: {"method": "bce", "student": name} for name in ("syncnet", "perfect-match", "avst")
}
"""Networks that the paper compares with, trained as in their papers."""
TABLE1 = {
    "bce": "student, BCE", "kd": "student, KD", "rkd": "student, RKD", "minilm": "student, MiniLM*",
    "fitnets": "student, FitNets", "mtd": "MTDVocaLiST",
}  # fmt: skip
"""Runs of Table 1 -> the published rows beside them."""
TABLE2 = {"nmtd-without-vr": "without VR", "nmtd-without-cad": "without CAD", "nmtd": "CAD and VR"}
FIG2 = {TEACHER: "VocaLiST", "syncnet": "SyncNet", "perfect-match": "Perfect Match", "avst": "AVST", **TABLE1}
FIG3 = {
    "bce": "BCE", **{f"layer-{layer}": layer for layer in LAYERS}, "nmtd": "uniform", "mtd-aw13": "AW-13",
    "mtd-aw25": "AW-25", "mtd-uw13": "UW-13", "mtd": "UW-25",
}  # fmt: skip
"""The 18 bars: no distillation, one layer each, and all layers by every weighting."""
NEEDED = {
    "table1": (TEACHER, *TABLE1), "table2": tuple(TABLE2), "fig2": tuple(FIG2), "fig3": tuple(FIG3),
    "fig4": ("mtd",),
}  # fmt: skip
"""Runs that each part shows."""
