"""End to end on whole videos: shift by a known amount, alter, check, compare."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avsync import api
from avsync.bench.distortions import Case, plan_cases, suffix, write_case
from avsync.core.constants import FRAME_MS
from avsync.core.errors import AvsyncError, MediaError
from avsync.core.report import Reason, Report
from avsync.demo.clip import write_demo
from avsync.estimate.calibration import expected_calibration_error, reliability_table
from avsync.report.reasons import reason_words

LIMITS_MS = (20, 40, 80)
DEMO_CLIP_S = 6.0


@dataclass(frozen=True)
class Outcome:
    """What `check` reported for one case. `error_ms` is measured minus true, None if there was no offset."""

    case: Case
    verdict: str
    offset_ms: float | None
    error_ms: float | None
    probability: float
    uncertainty_ms: float | None
    reasons: tuple[str, ...]

    @property
    def answered(self) -> bool:
        """Whether the verdict is based on an offset."""
        return self.verdict in ("in-sync", "out-of-sync")


def run(cases: Sequence[Case], model: str) -> Iterator[Outcome]:
    """Check every case in turn."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        for case in cases:
            target = Path(folder) / f"case{suffix(case)}"
            try:
                write_case(case, target)
            except MediaError as error:  # one bad clip stops nothing
                yield outcome(case, failed(target, error))
            else:
                yield outcome(case, checked(target, model))


def run_demo_set(model: str, count: int, seconds: float = DEMO_CLIP_S) -> Iterator[Outcome]:
    """Check `count` synthetic talking faces with known offsets; needs nothing but the package."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        for seed, case in enumerate(plan_cases([Path("demo.mp4")], count)):
            video = write_demo(
                Path(folder) / f"{seed}.mp4", offset_ms=case.shift_ms, seed=seed, duration_s=seconds
            )
            yield outcome(replace(case, clip=Path(f"demo-{seed}"), fps=None), checked(video, model))


def checked(path: Path, model: str) -> Report:
    """The report of a check, with the verdict "error" if it fails."""
    try:
        return api.check(path, model=model)
    except AvsyncError as error:
        return failed(path, error)


def failed(path: Path, error: AvsyncError) -> Report:
    return Report(str(path), "error", reasons=(Reason("error", {"message": str(error)}),))


def outcome(case: Case, report: Report) -> Outcome:
    """The report on a case, compared with its true offset."""
    error = None if report.offset_ms is None else report.offset_ms - case.early_ms
    return Outcome(
        case,
        report.verdict,
        report.offset_ms,
        error,
        report.probability,
        report.uncertainty_ms,
        tuple(map(reason_words, report.reasons)),
    )


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    """Share answered and, of those, the median absolute error, bias and share within each limit, in ms.

    `agree_40ms` does not assume that the clips are in sync: it is the share whose error is within 40 ms of
    the median error over the same clip's copies.
    """
    answered = np.array([o.error_ms for o in outcomes if o.answered and o.error_ms is not None])
    every = np.array([o.error_ms for o in outcomes if o.error_ms is not None])
    row: dict[str, float | int | None] = {
        "cases": len(outcomes),
        "answered_share": len(answered) / len(outcomes) if outcomes else None,
        "median_error_ms": float(np.median(np.abs(answered))) if len(answered) else None,
        "bias_ms": float(np.median(answered)) if len(answered) else None,
        "within_40ms_of_all": float(np.mean(np.abs(every) <= 40)) * len(every) / len(outcomes)
        if len(every)
        else None,
    }
    for limit in LIMITS_MS:
        row[f"within_{limit}ms"] = float(np.mean(np.abs(answered) <= limit)) if len(answered) else None
    apart = _apart_ms(outcomes)
    row["agree_40ms"] = float(np.mean(apart <= FRAME_MS)) if len(apart) else None
    return row


def _apart_ms(outcomes: Sequence[Outcome]) -> npt.NDArray[np.float64]:
    """Distance of each answered copy's error from its clip's median error, for clips with two or more."""
    clips = grouped(
        [o for o in outcomes if o.answered and o.error_ms is not None], lambda o: o.case.clip.name
    )
    errors = [np.array([o.error_ms for o in copies]) for copies in clips.values() if len(copies) > 1]
    return np.concatenate([np.abs(e - np.median(e)) for e in errors]) if errors else np.empty(0)


def reliability(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Calibration of the probability: [mean probability, share within a frame, copies] for each non-empty
    tenth, the expected calibration error, and how often the interval contained the truth."""
    measured = [o for o in outcomes if o.error_ms is not None]
    if not measured:
        return {"table": [], "expected_calibration_error": None, "interval_holds": None}
    probabilities = [o.probability for o in measured]
    right = [abs(o.error_ms or 0.0) <= FRAME_MS for o in measured]
    confident = [o for o in measured if o.answered and o.uncertainty_ms is not None]
    inside = [abs(o.error_ms or 0.0) <= (o.uncertainty_ms or 0.0) for o in confident]
    return {
        "table": [
            [round(p, 3), round(share, 3), n] for p, share, n in reliability_table(probabilities, right)
        ],
        "expected_calibration_error": round(expected_calibration_error(probabilities, right), 4),
        "interval_holds": round(float(np.mean(inside)), 3) if inside else None,
    }


def grouped(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, list[Outcome]]:
    """The outcomes by `key`, in order of first appearance."""
    groups: dict[str, list[Outcome]] = {}
    for found in outcomes:
        groups.setdefault(key(found), []).append(found)
    return groups


def groups(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[Outcome]]]:
    """The outcomes by source, by condition and by frame rate."""
    return {
        "source": grouped(outcomes, source),
        "condition": grouped(outcomes, lambda o: o.case.condition.name),
        "fps": grouped(outcomes, stored_fps),
    }


def to_document(outcomes: Sequence[Outcome], model: str) -> dict[str, Any]:
    """Plain values for JSON: summaries of all copies and of each group, reliability, and every case."""
    return {
        "model": model,
        "all": summarise(outcomes),
        **{
            f"by_{name}": {k: summarise(v) for k, v in parts.items()}
            for name, parts in groups(outcomes).items()
        },
        "reliability": reliability(outcomes),
        "cases": [as_dict(o) for o in outcomes],
    }


def source(found: Outcome) -> str:
    """The clip's source: its name up to the last dash."""
    return found.case.clip.stem.rpartition("-")[0] or found.case.clip.stem


def stored_fps(found: Outcome) -> str:
    """The frame rate of the copy in words."""
    return "own" if found.case.fps is None else f"{float(found.case.fps):.5g}"


def as_dict(outcome: Outcome) -> dict[str, object]:
    """Plain values for JSON."""
    return {
        "clip": outcome.case.clip.name,
        "shift_ms": outcome.case.shift_ms,
        "own_ms": outcome.case.own_ms,
        "fps": None if outcome.case.fps is None else float(outcome.case.fps),
        "condition": outcome.case.condition.name,
        "verdict": outcome.verdict,
        "offset_ms": outcome.offset_ms,
        "error_ms": outcome.error_ms,
        "probability": outcome.probability,
        "uncertainty_ms": outcome.uncertainty_ms,
        "reasons": list(outcome.reasons),
    }
