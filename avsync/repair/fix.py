"""Repair a synchrony error: plan -> remux to a file beside the target -> verify -> rename."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avsync.audio.waveform import audio_track
from avsync.core.errors import CannotTell, MediaError, UsageError
from avsync.core.options import FixOptions
from avsync.core.records import Media, Report
from avsync.core.tolerance import defects, largest_error
from avsync.media.ffmpeg import ffmpeg_path, source
from avsync.media.probe import probe, state
from avsync.repair import packets, retime
from avsync.repair.codecs import encoding
from avsync.repair.containers import muxer_of
from avsync.repair.packets import Contents
from avsync.repair.remux import Plan, command, plan
from avsync.repair.verify import Progress, other_target, show, verify
from avsync.report.words import offset_words, summary

__all__ = ["FixResult", "Plan", "apply", "command", "fix_offset", "plan", "verify"]

NAME_BYTES = 255
"""Longest file name on common file systems."""


@dataclass(frozen=True)
class FixResult:
    """What `fix_offset` did.

    The reports are None where nothing was measured; `offset_ms` is the error that was (or would be)
    removed, 0 where there was nothing to do; `command` is empty then.
    """

    report_before: Report | None
    report_after: Report | None
    offset_ms: float
    command: str
    written: bool
    sentence: str


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
    """Write `dst`: `src` with its synchrony error removed, or nothing where there is none.

    `measure` judges a file; it is asked before and after the repair, unless `options.offset_ms` gives
    the error. The target appears only when everything was verified. `announce` is told in a sentence that a
    track will be re-encoded, before that begins.

    Raises:
        UsageError: the target is the source, exists already, or cannot hold the streams or the shift.
        CannotTell: the error cannot be measured, or the method does not remove it.
        MediaError: the file cannot be read or written.
    """
    src, dst = Path(src), Path(dst)
    if options.check.audio is not None:
        raise UsageError(
            "fix-offset moves the video's own audio; leave out --audio, or mux that file in first."
        )
    media = probe(src)
    check_target(src, dst, force=options.force)

    def make_plan(offset_ms: float) -> Plan:
        return plan(media, offset_ms, dst, options.check.audio_track, leave_out=options.force)

    before = None
    offset_ms = options.offset_ms
    if options.method == "retime" and offset_ms is not None:
        raise UsageError("A given --offset-ms is a single shift, which --method copy does; leave one out.")
    if offset_ms is None:
        make_plan(0.0)  # A target that cannot be written should be known before minutes of measuring.
        before = measure(src)
        offset_ms = _measured(before, src, options)
    if offset_ms is None or (offset_ms == 0 and not options.force and options.method == "copy"):
        return _nothing_to_do(src, before)
    if options.method == "retime" and before is not None:
        return _retime(media, dst, options, before, measure, progress, announce)
    planned = make_plan(offset_ms)
    result = FixResult(before, None, offset_ms, command(planned, options.force), False, "")
    if options.dry_run:
        return replace(result, sentence=f"Would {planned.sentence} and write {dst}; nothing is written.")
    after, lost = _written(planned, before, measure, progress)
    return replace(result, report_after=after, written=True, sentence=_done(planned, before, after, lost))


def _written(
    planned: Plan, before: Report | None, measure: Callable[[Path], Report], progress: Progress | None
) -> tuple[Report | None, tuple[str, ...]]:
    """Write the target, unless it measures no better than the source did; (how it measures, what is lost)."""
    after = None

    def accept(written: Path) -> None:
        nonlocal after
        if before is not None:
            after = replace(measure(written), path=str(planned.dst))
            _compare(before, after, planned.dst)

    lost = apply(planned, progress, accept=accept)
    return after, lost


def _retime(
    media: Media,
    dst: Path,
    options: FixOptions,
    before: Report,
    measure: Callable[[Path], Report],
    progress: Progress | None,
    announce: Callable[[str], None] | None,
) -> FixResult:
    """Re-time and re-encode the track that was measured; everything else is copied."""
    stream = audio_track(media, before.audio_track)
    chosen = encoding(media, stream, muxer_of(packets.contents(media.path), dst))
    others = "; the other audio tracks stay as they are" if len(media.audio) > 1 else ""
    deed = f"audio track {stream.track} is {retime.words(before)}, and re-encoded ({chosen.words}){others}"
    result = FixResult(before, None, before.offset_ms or 0.0, "", False, "")
    if options.dry_run:
        return replace(result, sentence=f"In {dst}, {deed}; nothing is written.")
    if announce:
        announce(f"{media.path}: {deed}; all else is copied.")
    with tempfile.TemporaryDirectory(prefix="avsync-") as folder:
        retimed = retime.prepared(media, stream, before, Path(folder), chosen)
        planned = plan(media, 0.0, dst, stream.track, leave_out=options.force, retimed=retimed)
        after, lost = _written(planned, before, measure, progress)
    sentence = f"{dst}: {deed}; all else was copied." + _before_after(before, after) + _losses(dst, lost)
    return replace(result, report_after=after, written=True, sentence=sentence)


def check_target(src: Path, dst: Path, *, force: bool) -> None:
    """Refuse a target that must not be written.

    Raises:
        UsageError: it is the source by any name, exists (without `force`), or is no place for a file.
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
        raise UsageError(f"{dst} is no name for a file here ({error}); give another one.") from error


def _measured(report: Report, src: Path, options: FixOptions) -> float | None:
    """The error to remove, in ms; None where the file is in tolerance and shall be left alone."""
    if report.verdict == "error":
        raise MediaError(f"{src} cannot be measured: {summary(report)}.")
    if report.verdict in ("mismatch", "cannot-tell") or report.offset_ms is None:
        raise CannotTell(f"{src}: {summary(report)}; nothing is written, unless --offset-ms gives the error.")
    if report.verdict == "in-sync":
        return report.offset_ms if options.force else None
    if report.contested:
        raise CannotTell(
            f"{src}: {summary(report)}, so a repair could spoil that part; nothing is written, unless "
            "--offset-ms gives the error."
        )
    if options.method == "copy" and (reason := _no_single_shift(report)):
        raise CannotTell(
            f"{src}: {reason}, so no single shift mends it; nothing is written (use --method retime)."
        )
    return report.offset_ms


def _no_single_shift(report: Report) -> str | None:
    """Why the best single shift would leave a part of the file out of tolerance; None where it would not."""
    found = defects(report)
    if found == () or "local" in found or found == ("drift",) or report.faults:
        return summary(report)
    drift = abs(report.drift_ms_per_min or 0.0)
    if drift * (report.duration_s or 0.0) / 60 / 2 > min(report.tolerance_ms):
        return f"the audio drifts by {report.drift_ms_per_min:+.0f} ms per minute"
    return None


def _compare(before: Report, after: Report, dst: Path) -> None:
    """Raises CannotTell when the repaired file looks no better than the source did."""
    worse = after.verdict == "out-of-sync" and largest_error(after) >= largest_error(before)
    if worse or after.verdict in ("mismatch", "error"):
        raise CannotTell(
            f"Measured again after the repair: {summary(after)}; so {dst} is not written, and the first "
            f"measurement ({offset_words(before.offset_ms)}) cannot be trusted."
        )


def _nothing_to_do(src: Path, report: Report | None) -> FixResult:
    if report is None:
        sentence = "An offset of 0 ms asks for no shift; nothing is written (use --force to copy the file)."
    else:
        sentence = f"{src}: {summary(report)}; nothing is written (use --force to shift it all the same)."
    return FixResult(report, None, 0.0, "", False, sentence)


def _done(planned: Plan, before: Report | None, after: Report | None, lost: Sequence[str]) -> str:
    verb, rest = planned.sentence.split(" ", 1)
    sentence = f"{planned.dst}: {verb}{'d' if verb.endswith('e') else 'ed'} {rest}; nothing was re-encoded."
    return sentence + _before_after(before, after) + _losses(planned.dst, lost)


def _before_after(before: Report | None, after: Report | None) -> str:
    return f" Before: {summary(before)}. After: {summary(after)}." if before and after else ""


def _losses(dst: Path, lost: Sequence[str]) -> str:
    return f" {dst.suffix} cannot keep {', '.join(lost)}." if lost else ""


# --- Write -------------------------------------------------------------------------------


def apply(
    planned: Plan, progress: Progress | None = None, *, accept: Callable[[Path], None] | None = None
) -> tuple[str, ...]:
    """Write the target of a plan, all or nothing.

    `accept` is called with the verified temporary file before it gets its name, and refuses it by
    raising. Returns what the target's format cannot keep ("the title of stream 2"), mostly nothing.

    Raises:
        MediaError: the target cannot be written, or would not be a true copy.
    """
    whole = state(planned.src)
    before = packets.contents(planned.src)
    temporary = _reserve(planned.dst)
    try:
        _run(planned, before, temporary, progress)
        lost = verify(planned, before, temporary, progress)
        if accept:
            accept(temporary)
        if state(planned.src) != whole:
            raise MediaError(f"{planned.src} changed while it was copied; repair it when it is complete.")
        try:
            temporary.replace(planned.dst)
        except OSError as error:
            raise MediaError(_unwritable(planned.dst, error.strerror or str(error))) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return lost


def _reserve(dst: Path) -> Path:
    """A new empty file beside the target, with the rights that a new file gets."""
    ending = f".{secrets.token_hex(4)}{dst.suffix}"
    stem = os.fsencode(dst.stem)[: NAME_BYTES - len(os.fsencode(ending)) - 1]
    path = dst.absolute().with_name(f".{stem.decode(errors='ignore')}{ending}")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise MediaError(_unwritable(dst, error.strerror or str(error))) from error
    return path


def _unwritable(dst: Path, why: str) -> str:
    return f"{dst} cannot be written ({why}); make room, allow it, or choose another place."


def _run(planned: Plan, before: Contents, temporary: Path, progress: Progress | None) -> None:
    """Run ffmpeg into `temporary`; which is the first half of the work."""
    call = [
        ffmpeg_path(),
        "-y",
        "-progress",
        "pipe:1",
        "-nostats",
        *planned.arguments[:-1],
        source(temporary),
    ]
    log: deque[str] = deque(maxlen=20)
    with subprocess.Popen(
        call,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101 - stdout=PIPE
        try:
            for line in process.stdout:
                time = re.match(r"out_time_us=(-?\d+)", line)
                if time:
                    show(progress, before, int(time[1]) / 1e6 - before.start_s, 0.0, 0.5)
                elif not re.match(r"\w+=", line):
                    log.append(line)
        except BaseException:
            process.kill()
            raise
    show(progress, before, math.inf, 0.0, 0.5)
    if process.returncode:
        raise MediaError(_complaint(planned, log, process.returncode))


def _complaint(planned: Plan, log: Sequence[str], code: int) -> str:
    # ffmpeg prefixes "[mp4 @ 0x55d0c8] ", which says nothing to a user.
    said = [re.sub(r"^(\[[^]]*\] )+", "", line).strip(" .\n") for line in log]
    text = "\n".join(said)
    if "No space left" in text or "File too large" in text or code < 0:
        why = next((f for f in ("No space left on device", "File too large") if f in text), f"signal {-code}")
        return _unwritable(planned.dst, why)
    first = next(filter(None, said), "it gave no message").split(". ")[0]
    if "not currently supported in container" in text or "Could not write header" in text:
        return (
            f"{planned.dst.suffix} cannot hold the streams of {planned.src.name} ({first}); "
            f"{other_target(planned)}."
        )
    return f"ffmpeg could not copy {planned.src} ({first}); check that the file plays, or record it again."
