"""Reports as a check gives them."""

import numpy as np

from avsync.records import Fault, Offset, Report, Segment, TrackReport, Verdict

SHIFTS = np.arange(-15, 16)
FAULT = Fault(20, 40, -200.0, 5.0, 0.9, "severe")


def an_offset(offset_ms: float | None = 120.0, probability: float = 0.97) -> Offset:
    peak = -(offset_ms or 0.0) / 40
    curve = np.exp(-((SHIFTS - peak) ** 2)).astype(np.float32)
    return Offset(offset_ms, 9.0, probability, 8.5, False, SHIFTS, curve)


def a_report(
    verdict: Verdict = "out-of-sync", offset_ms: float | None = 120.0, path: str = "clip.mp4"
) -> Report:
    return Report(
        path,
        verdict,
        offset_ms,
        9.0,
        0.97,
        tracks=(
            TrackReport(0, 0.0, 4.0, 96, an_offset(-33.0, 0.2)),
            TrackReport(1, 0.0, 61.0, 1490, an_offset(offset_ms), speaking=True),
        ),
        segments=(Segment(0.0, 30.0, offset_ms, 12.0, 0.95), Segment(30.0, 61.0, None, None, 0.0)),
        duration_s=61.0,
        judged_s=30.0,
        model="avsync-1",
        timings_s={"total": 3.21},
    )
