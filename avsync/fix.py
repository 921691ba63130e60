"""Repair a constant synchrony error: plan -> remux to a file beside the target -> verify -> rename."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avsync import packets
from avsync.errors import CannotTell, MediaError, UsageError
from avsync.media import ffmpeg_path, probe, source
from avsync.packets import Contents, DifferentError, Packets
from avsync.records import Report
from avsync.remux import Plan, command, plan
from avsync.report import offset_words, summary, within
from avsync.settings import FixOptions

__all__ = ["FixResult", "Plan", "apply", "command", "fix_offset", "plan", "verify"]

Progress = Callable[[str, float, float | None], None]
"""progress(stage, done, total)."""

STAGE = "fix"
DURATION_SLACK_S = 1.0
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
) -> FixResult:
    """Write `dst`: `src` with its synchrony error removed, or nothing where there is none.

    `measure` judges a file; it is asked before and after the repair, unless `options.offset_ms` gives
    the error. The target appears only when everything was verified.

    Raises:
        UsageError: the target is the source, exists already, or cannot hold the streams or the shift.
        CannotTell: the error cannot be measured, or no single shift removes it.
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
    if offset_ms is None:
        make_plan(0.0)  # A target that cannot be written should be known before minutes of measuring.
        before = measure(src)
        offset_ms = _measured(before, src, force=options.force)
    if offset_ms is None or (offset_ms == 0 and not options.force):
        return _nothing_to_do(src, before)
    planned = make_plan(offset_ms)
    result = FixResult(before, None, offset_ms, command(planned, options.force), False, "")
    if options.dry_run:
        return replace(result, sentence=f"Would {planned.sentence} and write {dst}; nothing is written.")

    after = None

    def accept(written: Path) -> None:
        nonlocal after
        if before is not None:
            after = replace(measure(written), path=str(dst))
            _compare(before, after, dst)

    lost = apply(planned, progress, accept=accept)
    return replace(result, report_after=after, written=True, sentence=_done(planned, before, after, lost))


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


def _measured(report: Report, src: Path, *, force: bool) -> float | None:
    """The error to remove, in ms; None where the file is in tolerance and shall be left alone."""
    if report.verdict == "error":
        raise MediaError(f"{src} cannot be measured: {summary(report)}.")
    if report.verdict in ("mismatch", "cannot-tell") or report.offset_ms is None:
        raise CannotTell(f"{src}: {summary(report)}; nothing is written, unless --offset-ms gives the error.")
    if report.verdict == "in-sync":
        return report.offset_ms if force else None
    if report.faults or within(report.offset_ms, report.tolerance_ms):
        raise CannotTell(f"{src}: {summary(report)}, which no single shift mends; nothing is written.")
    if _drifts(report):
        raise CannotTell(
            f"The audio of {src} drifts by {report.drift_ms_per_min:+.0f} ms per minute, so no single shift "
            "fits all of it; nothing is written, unless --offset-ms gives the shift."
        )
    return report.offset_ms


def _drifts(report: Report) -> bool:
    """Whether the best single shift would leave the ends of the file out of tolerance."""
    if report.drift_ms_per_min is None or not report.duration_s:
        return False
    return abs(report.drift_ms_per_min) * report.duration_s / 60 / 2 > min(report.tolerance_ms)


def _compare(before: Report, after: Report, dst: Path) -> None:
    """Raises CannotTell when the repaired file looks no better than the source did."""
    worse = after.verdict == "out-of-sync" and abs(after.offset_ms or 0) >= abs(before.offset_ms or 0)
    if worse or after.verdict in ("mismatch", "error"):
        raise CannotTell(
            f"Measured again after the shift: {summary(after)}; so {dst} is not written, and the first "
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
    if before is not None and after is not None:
        sentence += f" Before: {summary(before)}. After: {summary(after)}."
    if lost:
        sentence += f" {planned.dst.suffix} cannot keep {', '.join(lost)}."
    return sentence


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
    before = packets.contents(planned.src)
    temporary = _reserve(planned.dst)
    try:
        _run(planned, before, temporary, progress)
        lost = verify(planned, before, temporary, progress)
        if accept:
            accept(temporary)
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
                    _show(progress, before, int(time[1]) / 1e6 - before.start_s, 0.0, 0.5)
                elif not re.match(r"\w+=", line):
                    log.append(line)
        except BaseException:
            process.kill()
            raise
    _show(progress, before, math.inf, 0.0, 0.5)
    if process.returncode:
        raise MediaError(_complaint(planned, log, process.returncode))


def _show(progress: Progress | None, file: Contents, done_s: float, first: float, share: float) -> None:
    """Report `done_s` of `file` as the part of the work that begins at `first` and is `share` of it."""
    if progress and file.duration_s:
        progress(STAGE, first + share * min(max(done_s / file.duration_s, 0.0), 1.0), 1.0)


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
            f"{_other_target(planned)}."
        )
    return f"ffmpeg could not copy {planned.src} ({first}); check that the file plays, or record it again."


def _other_target(planned: Plan) -> str:
    old, new = (path.suffix.lower() for path in (planned.src, planned.dst))
    if old == ".avi":
        return "convert it to .mkv first, and give that file"
    return f"choose a target that ends in {'.mkv' if old == new else old}"


# --- Verify ------------------------------------------------------------------------------


def verify(planned: Plan, before: Contents, path: Path, progress: Progress | None = None) -> tuple[str, ...]:
    """Prove that `path` holds every packet of the source, moved as planned, and nothing else changed.

    Returns what its format cannot keep of tags, titles and dispositions.

    Raises:
        MediaError: it is not a true copy; the sentence says where.
    """
    after = packets.contents(path)
    old = packets.read_packets(before, lambda done_s: _show(progress, before, done_s, 0.5, 0.25))
    new = packets.read_packets(after, lambda done_s: _show(progress, after, done_s, 0.75, 0.25))
    try:
        pairs = packets.pair(
            [p for p in old if not p.stream.remade and p.stream.index not in planned.left_out],
            [p for p in new if not p.stream.remade],
        )
        picture_moved_s = _check_shift(planned, pairs)
        packets.check_chapters(before.chapters, after.chapters, picture_moved_s)
        _check_whole(planned, before, after, pairs)
    except DifferentError as error:
        raise MediaError(
            f"The copy of {planned.src.name} failed its check and is not kept, because {error}; "
            f"{_other_target(planned)}."
        ) from error
    return packets.lost_tags(before, after, pairs)


def _check_shift(planned: Plan, pairs: Sequence[tuple[Packets, Packets]]) -> float:
    """Seconds by which the picture moved. Raises DifferentError unless the audio moved against it as planned,
    and everything else with it."""
    moves = {old.stream.index: packets.moved_by(old, new) for old, new in pairs if not old.stream.cover}
    picture = next(
        (moves[o.stream.index] for o, _ in pairs if o.stream.kind == "video" and not o.stream.cover), None
    )
    if picture is None:
        raise DifferentError("its picture has no times")
    for index, move in moves.items():
        planned_s = planned.offset_ms / 1000 if index in planned.moved else 0.0
        if move is None and index in planned.moved:
            raise DifferentError(f"stream {index} has no times")
        if move is not None and abs(move - picture - planned_s) > packets.TIME_TOLERANCE_S:
            raise DifferentError(
                f"stream {index} moved by {1000 * (move - picture):.0f} ms against the picture, "
                f"not by {1000 * planned_s:.0f} ms"
            )
    return picture


def _check_whole(
    planned: Plan, before: Contents, after: Contents, pairs: Sequence[tuple[Packets, Packets]]
) -> None:
    """Raises DifferentError when the picture is turned or scaled otherwise, or the stored length is off."""
    old, new = probe(planned.src).video, probe(after.path).video
    look = [v and (v.width, v.height, v.rotation_deg) for v in (old, new)]
    if look[0] != look[1]:
        raise DifferentError(f"its picture would show as {look[1]}, not {look[0]}")
    # MPEG streams store no length; it is guessed from the last packets.
    if "mpeg" not in before.container and before.duration_s and after.duration_s:
        # What a broken source says of its length may be far more than it holds.
        shortest = max(np.nanmax(p.times_s, initial=0.0) for _, p in pairs) - after.start_s - DURATION_SLACK_S
        longest = before.duration_s + abs(planned.offset_ms) / 1000 + DURATION_SLACK_S
        if not shortest <= after.duration_s <= longest:
            raise DifferentError(f"it lasts {after.duration_s:.1f} s instead of {before.duration_s:.1f} s")
