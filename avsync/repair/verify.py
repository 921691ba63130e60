"""Verify that a repaired file holds everything its source holds, at the right times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from avsync.core.errors import MediaError
from avsync.media.joints import MPEG
from avsync.media.probe import probe
from avsync.repair import labels, packets, services
from avsync.repair.packets import Contents, DifferentError, Packets
from avsync.repair.remux import Plan, hidden_codes
from avsync.repair.stamps import number_of

Progress = Callable[[str, float, float | None], None]
"""progress(stage, done, total)."""

STAGE = "fix"
DURATION_SLACK_S = 1.0
ENCODED_SLACK_S = 0.25
"""Padding that an encoder adds before the first sample and after the last."""


class UnfitTargetError(MediaError):
    """The target's format did not hold what the source holds; `why` is the sentence without its advice."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}.")
        self.why = why


def verify(planned: Plan, before: Contents, path: Path, progress: Progress | None = None) -> tuple[str, ...]:
    """Verify that `path` holds every packet of the source, moved as planned, and that nothing else changed.

    Returns the tags, titles and dispositions that its format cannot keep.

    Raises:
        UnfitTargetError: it is not a true copy; the sentence says where.
        MediaError: it cannot be read to its end.
    """
    if planned.shifts:
        _check_shifted(planned, path, progress)
        return ()
    if planned.listed:
        _check_listed(planned, path)
        return ()
    try:
        after, late_s = packets.contents(path), _late_s(path)
    except MediaError as error:
        raise _unfit(planned) from error
    old = packets.read_packets(before, lambda done_s: show(progress, before, done_s, 0.5, 0.25))
    try:
        new = packets.read_packets(after, lambda done_s: show(progress, after, done_s, 0.75, 0.25))
    except MediaError as error:
        raise _unfit(planned) from error
    try:
        kept = [p for p in old if not p.stream.remade and p.stream.index not in planned.left_out]
        found = [p for p in new if not p.stream.remade]
        fresh: list[tuple[Packets, Packets]] = []
        if planned.retimed:
            replaced = next(p for p in kept if p.stream.index == planned.retimed.stream)
            fresh = [(replaced, packets.new_one(kept, found, "audio"))]
            kept, found = ([p for p in side if p is not fresh[0][i]] for i, side in enumerate((kept, found)))
        pairs = packets.pair(kept, found)
        video_moved_s = _check_shift(planned, pairs, late_s - _late_s(planned.src))
        labels.check_chapters(before.chapters, after.chapters, video_moved_s)
        labels.check_time_code(before, after, video_moved_s)
        _check_whole(planned, before, after, pairs)
        for _, encoded in fresh:
            _check_retimed(planned, encoded, video_moved_s)
    except DifferentError as error:
        raise _not_kept(planned, error) from error
    lost = labels.lost_tags(before, after, [*pairs, *fresh], hidden_codes(before))
    both = before.container == after.container == "mpegts"
    return (*lost, *(services.lost(before.path, after.path) if both else ()))


def _check_shifted(planned: Plan, path: Path, progress: Progress | None) -> None:
    """Raises UnfitTargetError unless each part of a file has its packets, shifted as planned."""
    container = probe(planned.src).container
    for number, shift in enumerate(planned.shifts, 1):
        window = shift.first, shift.past
        try:
            old, new = (packets.read_packets(packets.contents(file, window)) for file in (planned.src, path))
            for before, after in packets.pair(old, new):
                move = packets.moved_by(before, after, wraps=container in MPEG)
                one = before.stream
                wanted_s = shift.by(number_of(container, one.index, one.number, one.kind))
                if move is not None and abs(move - wanted_s) > packets.TIME_TOLERANCE_S:
                    raise DifferentError(f"stream {before.stream.index} moved by {1000 * move:.0f} ms")
        except DifferentError as error:
            raise _not_kept(planned, error) from error
        if progress:
            progress(STAGE, 0.5 + 0.5 * number / len(planned.shifts), 1.0)


def _check_listed(planned: Plan, path: Path) -> None:
    """Raises UnfitTargetError unless a file has all packets of its source, on their tracks at the same times,
    and its audio starts as planned."""
    try:
        old, new = (packets.read_packets(packets.contents(file, raw=True)) for file in (planned.src, path))
        for before, after in packets.pair(old, new):
            if packets.moved_by(before, after):
                raise DifferentError(f"the packets of stream {before.stream.index} moved")
        was, now = probe(planned.src), probe(path)
        for before, after in zip(was.audio, now.audio, strict=True):
            wanted_s = planned.offset_ms / 1000 if before.index in planned.moved else 0.0
            moved_s = after.start_s - before.start_s
            # Audio that would begin before the video does is cut instead.
            if (
                abs(moved_s - wanted_s) > packets.TIME_TOLERANCE_S
                and after.start_s > packets.TIME_TOLERANCE_S
            ):
                raise DifferentError(f"stream {before.index} moved by {1000 * moved_s:.0f} ms")
    except DifferentError as error:
        raise _not_kept(planned, error) from error


def _not_kept(planned: Plan, error: DifferentError) -> UnfitTargetError:
    return UnfitTargetError(
        f"The copy of {planned.src.name} failed its check and is not kept, because {error}"
    )


def _unfit(planned: Plan) -> UnfitTargetError:
    return UnfitTargetError(f"{planned.dst.suffix} does not hold the streams of {planned.src.name}")


def _check_shift(planned: Plan, pairs: Sequence[tuple[Packets, Packets]], later_s: float) -> float:
    """Seconds by which the video moved; `later_s`: by how much its `late_s` has grown. Raises DifferentError
    unless the audio moved against it as planned, and everything else moved with it."""
    moves = {old.stream.index: packets.moved_by(old, new) for old, new in pairs if not old.stream.cover}
    moved_s = next(
        (moves[o.stream.index] for o, _ in pairs if o.stream.kind == "video" and not o.stream.cover), None
    )
    if moved_s is None:
        raise DifferentError("its video has no times")
    # Its demuxer's times are not those at which it is presented.
    moved_s += later_s
    video = {o.stream.index for o, _ in pairs if o.stream.kind == "video"}
    for index, move in moves.items():
        if index in video:
            continue
        planned_s = planned.offset_ms / 1000 if index in planned.moved else 0.0
        if move is None and index in planned.moved:
            raise DifferentError(f"stream {index} has no times")
        if move is not None and abs(move - moved_s - planned_s) > packets.TIME_TOLERANCE_S:
            raise DifferentError(
                f"stream {index} moved by {1000 * (move - moved_s):.0f} ms against the video, "
                f"not by {1000 * planned_s:.0f} ms"
            )
    return moved_s


def _late_s(path: Path) -> float:
    video = probe(path).video
    return video.late_s if video else 0.0


def _check_retimed(planned: Plan, encoded: Packets, video_moved_s: float) -> None:
    """Raises DifferentError unless the new track begins and ends where it should."""
    assert planned.retimed is not None  # noqa: S101 - the caller asks only then
    start = planned.retimed.start_s + video_moved_s
    wanted = start, start + planned.retimed.length_s
    times = encoded.times_s[np.isfinite(encoded.times_s[:, 0]), 0]
    got = (float(times.min()), float(times.max())) if len(times) else (math.nan, math.nan)
    if not all(abs(g - w) <= ENCODED_SLACK_S for g, w in zip(got, wanted, strict=True)):
        raise DifferentError(
            f"the new audio lasts from {got[0]:.2f} s to {got[1]:.2f} s, "
            f"not from {wanted[0]:.2f} s to {wanted[1]:.2f} s"
        )


def _check_whole(
    planned: Plan, before: Contents, after: Contents, pairs: Sequence[tuple[Packets, Packets]]
) -> None:
    """Raises DifferentError if the video's size, rotation or stored length differs."""
    old, new = probe(planned.src).video, probe(after.path).video
    look = [v and (v.width, v.height, v.rotation_deg) for v in (old, new)]
    if look[0] != look[1]:
        raise DifferentError(f"its video would show as {look[1]}, not {look[0]}")
    # MPEG streams store no length; it is guessed from the last packets.
    if "mpeg" not in before.container and before.duration_s and after.duration_s:
        # A broken source may claim to be far longer than what it holds.
        shortest = max(np.nanmax(p.times_s, initial=0.0) for _, p in pairs) - after.start_s - DURATION_SLACK_S
        longest = before.duration_s + abs(planned.offset_ms) / 1000 + DURATION_SLACK_S
        if before.container == "avi":  # which claims the length of its video, whatever that of its audio
            longest += max(np.nanmax(p.times_s, initial=0.0) for p, _ in pairs)
        if planned.retimed:
            longest = max(longest, planned.retimed.length_s + DURATION_SLACK_S)
        if not shortest <= after.duration_s <= longest:
            raise DifferentError(f"it lasts {after.duration_s:.1f} s instead of {before.duration_s:.1f} s")


def show(progress: Progress | None, file: Contents, done_s: float, first: float, share: float) -> None:
    """Report progress of `done_s` in `file`, for a part of the work that begins at `first` (0..1) and is
    `share` of it."""
    if progress and file.duration_s:
        progress(STAGE, first + share * min(max(done_s / file.duration_s, 0.0), 1.0), 1.0)
