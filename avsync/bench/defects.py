"""Known defects of each kind: what `check` finds, and what `fix-offset` repairs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avsync import api
from avsync.bench.videos import checked, failed
from avsync.core.constants import FRAME_MS, Method
from avsync.core.errors import AvsyncError, MediaError, UsageError
from avsync.core.report import Report
from avsync.core.tolerance import defects, largest_error
from avsync.media.container import source
from avsync.media.ffmpeg import run_ffmpeg
from avsync.media.probe import probe
from avsync.report.summary import summary

Kind = Literal["shift", "drift", "jump", "swap"]
KINDS: tuple[Kind, ...] = ("shift", "drift", "jump", "swap")
AMOUNT_MS = 240.0
"""A shift makes all audio early by this much, a jump from the middle on, a drift by the end of each
minute."""
MIN_CLIP_S = 20.0
"""Shorter clips can hardly show a drift or a jump."""
RATE_HZ = 48_000
METHODS: dict[Kind, Method] = {"shift": "copy", "drift": "retime", "jump": "retime"}


@dataclass(frozen=True)
class Trial:
    """One clip with one defect. `plain`: the report on the clip as it is; `found`: on the clip with the
    defect; `after`: on the repaired one, None if nothing was written, because of `why`."""

    clip: Path
    kind: Kind
    plain: Report
    found: Report
    check_s: float
    after: Report | None = None
    repair_s: float | None = None
    why: str = ""

    @property
    def caught(self) -> bool:
        """Whether a drift was reported as drift, a jump as a fault, a shift within a frame, and no offset for
        another clip's audio. The verdict does not count, since a late clip's own error may bring the defect
        into tolerance."""
        if self.kind == "swap":
            return not self._answered
        if self.kind == "shift":
            return self.error is not None and abs(self.error) <= FRAME_MS
        return self._answered and bool(
            self.found.drift_ms_per_min if self.kind == "drift" else self.found.faults
        )

    @property
    def error(self) -> float | None:
        """Measured minus made, in ms (drift: ms a minute), relative to the unaltered clip; None if either was
        not measured."""
        before, after = _size(self.plain, self.kind), _size(self.found, self.kind)
        known = self._answered if self.kind == "shift" else self.caught
        return after - before - AMOUNT_MS if known and before is not None and after is not None else None

    @property
    def _answered(self) -> bool:
        return self.found.verdict in ("in-sync", "out-of-sync")


def _size(report: Report, kind: Kind) -> float | None:
    """The size of a kind of defect by `report`: offset, drift, or the change of the offset from the first
    stretch to the last."""
    if kind == "shift":
        return report.offset_ms
    if kind == "drift":
        return report.drift_ms_per_min or 0.0
    known = [s.offset_ms for s in report.segments if s.offset_ms is not None]
    return known[-1] - known[0] if kind == "jump" and known else None


def long_clips(clips: Sequence[Path]) -> list[Path]:
    """Clips of `MIN_CLIP_S` or more, and broken ones, so that the table names them. Raises UsageError when
    there is none."""
    found = [clip for clip in clips if _length_s(clip) >= MIN_CLIP_S]
    if not found:
        raise UsageError(
            f"No video lasts {MIN_CLIP_S:.0f} s or more, which --defects needs; give longer ones."
        )
    return found


def _length_s(clip: Path) -> float:
    try:
        return probe(clip).duration_s
    except MediaError:
        return float("inf")


def run(clips: Sequence[Path], others: Sequence[Path], model: str) -> Iterator[Trial]:
    """Try every kind on every clip; `others` provide the audio to swap in."""
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        for clip in clips:
            plain = checked(clip, model)
            for kind in KINDS:
                foreign = _foreign(clip, others)
                if kind == "swap" and foreign is None:
                    continue
                defective, repaired = Path(folder, "defective.mkv"), Path(folder, "repaired.mkv")
                try:
                    write_defect(clip, kind, defective, foreign)
                except MediaError as error:
                    yield Trial(clip, kind, plain, failed(clip, error), 0.0)
                    continue
                yield _try(clip, kind, plain, defective, repaired, model)


def _try(clip: Path, kind: Kind, plain: Report, defective: Path, repaired: Path, model: str) -> Trial:
    began = time.perf_counter()
    found = checked(defective, model)
    trial = Trial(clip, kind, plain, found, time.perf_counter() - began)
    if kind == "swap":
        return trial
    began = time.perf_counter()
    try:
        done = api.fix_offset(defective, repaired, force=True, method=METHODS[kind], model=model)
        after, why = done.report_after, ""
    except AvsyncError as error:
        after, why = None, str(error)
    why = why.replace(str(defective), "the copy").replace(str(repaired), "the result")
    return Trial(clip, kind, plain, found, trial.check_s, after, time.perf_counter() - began, why)


def _foreign(clip: Path, others: Sequence[Path]) -> Path | None:
    """The next of the other clips, in turn; None if there is no other."""
    place = list(others).index(clip)
    turned = [*others[place + 1 :], *others[:place]]
    return turned[0] if turned else None


def write_defect(clip: Path, kind: Kind, target: Path, foreign: Path | None = None) -> None:
    """Write `clip` with the same video packets and defective audio to `target`, a Matroska file.

    Raises MediaError if ffmpeg fails.
    """
    length_s = probe(clip).duration_s
    audio = foreign if kind == "swap" and foreign else clip
    command = [
        *["-y", "-i", source(clip), "-i", source(audio)],
        *["-filter_complex", _filters(kind, length_s), "-map", "0:v:0", "-map", "[out]", "-c:v", "copy"],
        *["-c:a", "aac", "-b:a", "128k", "-t", f"{length_s:.3f}", source(target)],
    ]
    run_ffmpeg(command, f"make a copy of {clip} with the defect {kind!r}")


def _filters(kind: Kind, length_s: float) -> str:
    """ffmpeg filters from the audio of the second input to [out], padded with silence to `length_s`."""
    amount_s, middle_s = AMOUNT_MS / 1000, length_s / 2
    begin = f"[1:a:0]aresample={RATE_HZ}:async=1:first_pts=0"
    if kind == "shift":
        changed = f"{begin},atrim=start={amount_s},asetpts=PTS-STARTPTS"
    elif kind == "drift":
        changed = f"{begin},asetrate={round(RATE_HZ * (1 + amount_s / 60))},aresample={RATE_HZ}"
    elif kind == "jump":
        changed = (
            f"{begin},asplit[a][b];[a]atrim=end={middle_s},asetpts=PTS-STARTPTS[c];"
            f"[b]atrim=start={middle_s + amount_s},asetpts=PTS-STARTPTS[d];[c][d]concat=n=2:v=0:a=1"
        )
    else:
        changed = begin
    return f"{changed},apad=whole_dur={length_s:.3f}[out]"


# --- Words and JSON ----------------------------------------------------------------------


def found_words(report: Report) -> str:
    """Defects and their sizes, briefly."""
    if report.verdict != "out-of-sync":
        return report.verdict
    parts = [f"{', '.join(defects(report))}: {report.offset_ms or 0.0:+.0f} ms"]
    if report.drift_ms_per_min:
        parts.append(f"{report.drift_ms_per_min:+.0f} ms/min")
    for f in report.faults:
        what = "mismatch" if f.offset_ms is None else f"{f.offset_ms:+.0f} ms"
        parts.append(f"{what} at {f.start_s:.1f}-{f.end_s:.1f} s")
    return "; ".join(parts)


def after_words(trial: Trial) -> str:
    """The verdict on the repaired file, or that there is none."""
    if trial.kind == "swap":
        return "-"
    if trial.after is None:
        return "not repaired"
    return f"{trial.after.verdict}, at most {largest_error(trial.after):.0f} ms"


def as_dict(trial: Trial) -> dict[str, object]:
    """Plain values for JSON; errors in ms (drift: ms a minute)."""
    return {
        "clip": trial.clip.name,
        "defect": trial.kind,
        "made": None if trial.kind == "swap" else AMOUNT_MS,
        "caught": trial.caught,
        "error": trial.error,
        "plain": _short(trial.plain),
        "found": _short(trial.found),
        "after": None if trial.after is None else _short(trial.after),
        "why": trial.why,
        "check_s": round(trial.check_s, 2),
        "repair_s": None if trial.repair_s is None else round(trial.repair_s, 2),
    }


def _short(report: Report) -> dict[str, object]:
    return {
        "verdict": report.verdict,
        "summary": summary(report),
        "offset_ms": report.offset_ms,
        "uncertainty_ms": report.uncertainty_ms,
        "probability": report.probability,
        "drift_ms_per_min": report.drift_ms_per_min,
        "defects": list(defects(report)),
        "faults": [[f.start_s, f.end_s, f.offset_ms] for f in report.faults],
        "largest_error_ms": largest_error(report),
    }
