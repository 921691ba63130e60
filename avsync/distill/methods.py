"""The distillation methods by name: what each needs of the networks, and its tasks.

`pairs.py` computes them; this file only names them, so that a recipe can be checked without a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avsync.core.errors import UsageError
from avsync.distill.losses import LAYERS, TERMS
from avsync.distill.weighting import LEARNED

MINILM_LAYERS = ("fusion4",)
"""MiniLM* distils only the last layer."""


@dataclass(frozen=True)
class Method:
    """`tasks`: names of its losses besides that of the labels; None: one task per layer and term. `teacher`:
    whether it needs one; `maps`: whether it compares attention maps; `learned`: whether the paper's version
    learns the weights of the tasks."""

    tasks: tuple[str, ...] | None
    teacher: bool = True
    maps: bool = False
    learned: bool = False


METHODS: dict[str, Method] = {
    "mtd": Method(None, maps=True, learned=True),
    "nmtd": Method(None, maps=True),
    "kd": Method(("kd",)),
    "rkd": Method(("rkd_distance", "rkd_angle")),
    "minilm": Method(tuple(f"{layer}_{term}" for layer in MINILM_LAYERS for term in TERMS), maps=True),
    "fitnets": Method(("hint",)),
    "bce": Method((), teacher=False),
}


def task_names(method: str, layers: Sequence[str] = LAYERS, terms: Sequence[str] = TERMS) -> list[str]:
    """Names of a method's tasks on pairs, beginning with that of the labels."""
    own = METHODS[method].tasks
    if own is None:
        own = tuple(f"{layer}_{term}" for layer in layers for term in terms)
    return ["bce", *own]


def default_weighting(method: str) -> str:
    """The paper's weighting of a method."""
    return "uw25" if method in METHODS and METHODS[method].learned else "uniform"


def check_method(
    method: str,
    weighting: str,
    layers: Sequence[str],
    terms: Sequence[str],
    weights: Mapping[str, float],
) -> None:
    """Raise UsageError if method, weighting, layers, terms and weights do not fit together."""
    if method not in METHODS:
        raise UsageError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    if METHODS[method].learned != (weighting in LEARNED):
        fitting = ", ".join(LEARNED) if METHODS[method].learned else "uniform, manual"
        raise UsageError(f"--method {method} cannot be weighted by {weighting}; choose one of {fitting}.")
    if METHODS[method].tasks is not None:
        for name, chosen, every in (("layers", layers, LAYERS), ("terms", terms, TERMS)):
            if tuple(chosen) != every:
                raise UsageError(
                    f"--{name} has no effect with --method {method}; omit it, or choose mtd or nmtd."
                )
    tasks = task_names(method, layers, terms)
    if weights and weighting != "manual":
        raise UsageError(f"weights are for weighting: manual; with {weighting} they have no effect.")
    if unknown := sorted(set(weights) - set(tasks)):
        raise UsageError(
            f"The weights name {unknown[0]!r}, which is not a task; tasks are {', '.join(tasks)}."
        )


def parse_layers(text: str) -> tuple[str, ...]:
    """ "all", or a list such as "fusion4,av1", or a whole encoder such as "fusion" -> layer names."""
    chosen: list[str] = []
    for word in text.replace(" ", "").split(","):
        fitting = [name for name in LAYERS if word in ("all", name, name[:-1])]
        if not fitting:
            raise UsageError(f"There is no layer {word!r}; choose from {', '.join(LAYERS)}, or all.")
        chosen += fitting
    return tuple(name for name in LAYERS if name in chosen)


def parse_terms(text: str) -> tuple[str, ...]:
    """ "cad,vr" -> ("cad", "vr")."""
    words = text.replace(" ", "").lower().split(",")
    if unknown := [w for w in words if w not in TERMS]:
        raise UsageError(f"There is no term {unknown[0]!r}; choose from {', '.join(TERMS)}.")
    return tuple(term for term in TERMS if term in words)
