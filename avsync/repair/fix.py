"""Repair a synchrony error: measure -> plan -> write and verify -> measure again -> publish the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from avsync.audio.waveform import audio_track
from avsync.core.draft import scratch
from avsync.core.errors import (
    EXIT_IN_SYNC,
    EXIT_OUT_OF_SYNC,
    AvsyncError,
    CannotTell,
    MediaError,
    UsageError,
)
from avsync.core.options import FixOptions
from avsync.core.report import Report
from avsync.core.streams import Media
from avsync.core.tolerance import largest_error, unmendable
from avsync.estimate.repairable import joint, repair_shift
from avsync.media.ffmpeg import program
from avsync.media.probe import probe
from avsync.repair import packets, retime
from avsync.repair.codecs import encoding
from avsync.repair.containers import MUXERS, muxer_of
from avsync.repair.remux import Plan, command, plan, require_one_clock
from avsync.repair.verify import Progress, UnfitTargetError
from avsync.repair.write import written
from avsync.report import repaired
from avsync.report.summary import summary
from avsync.report.words import offset_words

NO_FITTING_TARGET = (
    "no other format holds them unchanged either, so convert the file first, as with "
    "`ffmpeg -i IN -c:v libx264 -c:a aac OUT.mp4`"
)


@dataclass(frozen=True)
class FixResult:
    """What `fix_offset` did.

    The reports are None if nothing was measured. `offset_ms` is the error that was (or would be) removed; if
    there was nothing to do it is 0 and `command` is empty. `in_place`: only the times in the packets' headers
    change, without ffmpeg. `settings` names the method and the ffmpeg used.
    """

    report_before: Report | None
    report_after: Report | None
    offset_ms: float
    command: str
    written: bool
    sentence: str
    in_place: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """1 if the repaired file is better but still out of tolerance, else 0."""
        after = self.report_after
        return EXIT_OUT_OF_SYNC if self.written and after and after.verdict == "out-of-sync" else EXIT_IN_SYNC


# --- Repair ------------------------------------------------------------------------------


def fix_offset(
    src: Path,
    dst: Path,
    options: FixOptions,
    *,
    measure: Callable[[Path], Report],
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
) -> FixResult:
    """Write `src` with its synchrony error removed to `dst`; write nothing if there is no error.

    `measure` checks a file, before and after the repair, unless `options.offset_ms` gives the error. If the
    result measures out of tolerance, the repair is repeated once, shifted by the remainder. The target
    appears only after everything was verified. `announce` gets a sentence before a track is re-encoded.

    Raises:
        UsageError: the target is the source, exists already, or cannot hold the streams or the shift.
        CannotTell: the error cannot be measured, or the method does not remove it.
        SetupError: there is no ffmpeg.
        OutputError: the target cannot be written.
        MediaError: the file cannot be read, or its copy would not be a true one.
    """
    src, dst, force = Path(src), Path(dst), options.force
    if options.check.audio is not None:
        raise UsageError("fix-offset moves the video's own audio; omit --audio, or mux that file in first.")
    if options.method == "retime" and options.offset_ms is not None:
        raise UsageError("--offset-ms asks for a single shift, which --method copy does; omit one of them.")
    media = probe(src)
    check_target(src, dst, force=force)
    if options.method == "retime":
        require_one_clock(media, shifted=False)

    def make_plan(offset_ms: float, target: Path = dst, *, in_place: bool | None = None) -> Plan:
        track = options.check.audio_track
        return plan(media, offset_ms, target, track, leave_out=force, in_place=in_place)

    before, offset_ms = None, options.offset_ms
    if offset_ms is None:
        make_plan(0.0)  # Find out whether the target can be written before minutes of measuring.
        before = measure(src)
        offset_ms = _measured(before, src, force=force, single_shift=options.method == "copy")
    if offset_ms is None or (offset_ms == 0 and not force and options.method == "copy"):
        return FixResult(before, None, 0.0, "", False, repaired.nothing_to_do(src, before))
    rounds = _Rounds(before, measure, progress, force)
    try:
        if before is not None and options.method == "retime":
            dry_run = options.dry_run
            done = _retime(media, dst, before, rounds, leave_out=force, dry_run=dry_run, announce=announce)
        else:
            done = _shift_anyhow(make_plan, offset_ms, rounds, dry_run=options.dry_run)
    except UnfitTargetError as error:
        fitting = _fitting_suffix(partial(make_plan, offset_ms), src, dst)
        advice = f"choose a target that ends in {fitting}" if fitting else NO_FITTING_TARGET
        raise MediaError(f"{error.why}; {advice}.") from error
    return replace(done, settings={"method": options.method, **({} if done.in_place else _program_used())})


def _program_used() -> dict[str, Any]:
    return {"ffmpeg": program().version, "ffmpeg_program": program().path}


def _fitting_suffix(make_plan: Callable[..., Plan], src: Path, dst: Path) -> str | None:
    """A suffix with which the repair succeeds, found by trial; None if there is none."""
    tried = dst.suffix.lower()
    for suffix in dict.fromkeys((src.suffix.lower(), ".mkv", ".mov", ".mp4", ".ts")):
        if suffix == tried or suffix not in MUXERS:
            continue
        for in_place in (False, True):
            with suppress(AvsyncError):
                planned = make_plan(dst.with_suffix(suffix), in_place=in_place)
                if planned.in_place or not in_place:
                    with written(planned):
                        return suffix
    return None


@dataclass(frozen=True)
class _Rounds:
    """A repair in at most two rounds, until it measures within tolerance; `before` None: nothing is
    measured."""

    before: Report | None
    measure: Callable[[Path], Report]
    progress: Progress | None
    replace: bool

    def made(self, make_plan: Callable[[float], Plan]) -> tuple[Plan, Report | None, tuple[str, ...]]:
        """Write the target of `make_plan(rest_ms)`, unless it measures no better than the source did. Returns
        the plan, the report on the target, and what the target's format cannot keep."""
        rest_ms = 0.0
        while True:
            planned = make_plan(rest_ms)
            with written(planned, self.progress) as copy:
                after = None
                if self.before is not None:
                    after = replace(self.measure(copy.path), path=str(planned.dst))
                    _compare(self.before, after, planned.dst)
                    if not rest_ms and (rest_ms := _rest_ms(after)):
                        continue
                copy.publish(replace=self.replace)
                return planned, after, copy.lost


def _rest_ms(after: Report) -> float:
    """What a further shift would remove from a repaired file's error; 0 if it is in tolerance or has an error
    that no shift removes."""
    if (
        after.verdict != "out-of-sync"
        or after.offset_ms is None
        or unmendable(after)
        or repair_shift(after) is None
    ):
        return 0.0
    return after.offset_ms


def _shift_anyhow(
    make_plan: Callable[..., Plan], offset_ms: float, rounds: _Rounds, *, dry_run: bool
) -> FixResult:
    """`_shift`, and where the copy is no true one, in the other way: muxers make up times for frames that
    share a packet, and for those that have wrong ones; and some packets have no times to shift."""
    try:
        return _shift(make_plan, offset_ms, rounds, dry_run=dry_run)
    except UnfitTargetError:
        other = not make_plan(offset_ms).in_place
        if make_plan(offset_ms, in_place=other).in_place != other:
            raise
    return _shift(partial(make_plan, in_place=other), offset_ms, rounds, dry_run=dry_run)


def _shift(
    make_plan: Callable[[float], Plan], offset_ms: float, rounds: _Rounds, *, dry_run: bool
) -> FixResult:
    """Shift the audio and copy everything."""
    planned = make_plan(offset_ms)
    shell = command(planned, rounds.replace)
    result = FixResult(rounds.before, None, offset_ms, shell, False, "", in_place=planned.in_place)
    if dry_run:
        return replace(result, sentence=repaired.would_shift(planned.dst, _deed(planned)))
    planned, after, lost = rounds.made(lambda rest_ms: make_plan(offset_ms + rest_ms))
    return replace(
        result,
        report_after=after,
        offset_ms=planned.offset_ms,
        command=command(planned, rounds.replace),
        written=True,
        sentence=repaired.shifted(planned.dst, _deed(planned), rounds.before, after, lost),
    )


def _deed(planned: Plan) -> tuple[str, str]:
    return repaired.shift_words(planned.offset_ms, planned.audio_track, planned.left_out)


def _retime(
    media: Media,
    dst: Path,
    before: Report,
    rounds: _Rounds,
    *,
    leave_out: bool,
    dry_run: bool,
    announce: Callable[[str], None] | None,
) -> FixResult:
    """Re-time and re-encode the measured track and copy everything else."""
    stream = audio_track(media, before.audio_track)
    chosen = encoding(media, stream, muxer_of(packets.contents(media.path), dst))
    others = "; the other audio tracks stay as they are" if len(media.audio) > 1 else ""
    done = repaired.retime_words(before)
    deed = f"audio track {stream.track} is {done}, and re-encoded ({chosen.words}){others}"
    result = FixResult(before, None, before.offset_ms or 0.0, "", False, "")
    if dry_run:
        return replace(result, sentence=f"In {dst}, {deed}; nothing is written.")
    if announce:
        announce(f"{media.path}: {deed}; everything else is copied.")
    with scratch() as decoded, scratch() as retimed:

        def make_plan(rest_ms: float) -> Plan:
            found = [replace(s, offset_ms=s.offset_ms + rest_ms) for s in retime.stretches(before)]
            track = retime.prepared(media, stream, found, decoded, retimed, chosen)
            return plan(media, 0.0, dst, stream.track, leave_out=leave_out, retimed=track)

        _, after, lost = rounds.made(make_plan)
    sentence = repaired.retimed(dst, deed, before, after, lost)
    return replace(result, report_after=after, written=True, sentence=sentence)


def check_target(src: Path, dst: Path, *, force: bool) -> None:
    """Refuse a target that must not be written.

    Raises:
        UsageError: it is the source under any name, exists (without `force`), or is not a possible path.
    """
    try:
        if dst.exists() and src.exists() and dst.samefile(src):
            raise UsageError(f"{dst} is the input itself; give the output another name.")
        if dst.exists() and not dst.is_file():
            raise UsageError(f"{dst} is not a regular file; give the name of a file to write.")
        if os.path.lexists(dst) and not force:
            raise UsageError(f"{dst} exists already; use --force to replace it, or give another name.")
        if not dst.absolute().parent.is_dir():
            raise UsageError(f"There is no folder {dst.absolute().parent}; make it first.")
    except (OSError, ValueError) as error:
        raise UsageError(f"{dst} cannot be the name of a file here ({error}); give another one.") from error


def _measured(report: Report, src: Path, *, force: bool, single_shift: bool) -> float | None:
    """The error to remove, in ms; None if the file is in tolerance and is to be left alone."""
    if report.verdict == "error":
        raise MediaError(f"{src} cannot be measured: {summary(report)}.")
    if report.verdict in ("mismatch", "partly-judged", "cannot-tell") or report.offset_ms is None:
        raise CannotTell(f"{src}: {summary(report)}; nothing is written, unless --offset-ms gives the error.")
    if report.verdict == "in-sync":
        return report.offset_ms if force else None
    hindered = unmendable(report)
    if hindered == "contested":
        raise CannotTell(
            f"{src}: {summary(report)}, so a repair could make that part worse; nothing is written, unless "
            "--offset-ms gives the error."
        )
    if hindered == "mismatch":
        raise CannotTell(
            f"{src}: {summary(report)}, which no shift of the audio repairs; nothing is written "
            "(--offset-ms shifts it anyway)."
        )
    if not single_shift:
        return report.offset_ms
    shift = repair_shift(report)
    if shift is None:
        how = "use --method retime"
        if joined := joint(report):
            how = f"cut it after {repaired.bytes_words(joined['cut_at_bytes'])} and repair each part"
        raise CannotTell(
            f"{src}: {summary(report)}, so no single shift fixes it; nothing is written ({how})."
        )
    return shift.offset_ms


def _compare(before: Report, after: Report, dst: Path) -> None:
    """Raises CannotTell if the repaired file measures no better than the source did."""
    worse = after.verdict == "out-of-sync" and largest_error(after) >= largest_error(before)
    if worse or after.verdict in ("mismatch", "error"):
        raise CannotTell(
            f"Measured again after the repair: {summary(after)}; so {dst} is not written, and the first "
            f"measurement ({offset_words(before.offset_ms)}) cannot be trusted."
        )
