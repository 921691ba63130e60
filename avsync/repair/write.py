"""Write the target of a plan: run ffmpeg into a draft, verify it, then publish it under its name."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from avsync.core.draft import Draft, draft, unwritable
from avsync.core.errors import MediaError
from avsync.media.container import source
from avsync.media.ffmpeg import FfmpegError, run_ffmpeg
from avsync.media.probe import state
from avsync.repair import packets
from avsync.repair.editlists import write_listed
from avsync.repair.packets import Contents
from avsync.repair.remux import Plan
from avsync.repair.reordered import write_held
from avsync.repair.stamps import write_shifted
from avsync.repair.verify import Progress, UnfitTargetError, show, verify

FROM_MATROSKA = ("-copyts", "-protocol_whitelist", "file", "-f", "matroska", "-i")


@dataclass(frozen=True)
class Copy:
    """A verified target that has no name yet: `path` opens it; `lost` is what its format cannot keep ("the
    title of stream 2"), usually nothing."""

    planned: Plan
    path: Path
    lost: tuple[str, ...]
    _draft: Draft
    _source: object

    def publish(self, *, replace: bool) -> None:
        """Give the file its name.

        Raises:
            MediaError: the source has changed since the copy began.
            UsageError: something that may not be replaced has appeared at the target.
            OutputError: the folder can no longer be written.
        """
        if state(self.planned.src) != self._source:
            raise MediaError(
                f"{self.planned.src} changed while it was copied; repair it when it is complete."
            )
        self._draft.publish(replace=replace)


@contextmanager
def written(planned: Plan, progress: Progress | None = None) -> Iterator[Copy]:
    """Write and verify the target of a plan, with the permissions of its source less the umask. Unless it is
    published, nothing remains when the block ends.

    Raises:
        SetupError: there is no ffmpeg.
        OutputError: the target cannot be written.
        UnfitTargetError: the target's format cannot hold the streams, or altered them.
        MediaError: the source is damaged.
    """
    whole = state(planned.src)
    before = packets.contents(planned.src)
    with draft(planned.dst, stat.S_IMODE(planned.src.stat().st_mode) & 0o666) as made:
        _run(planned, before, made, progress)
        try:
            lost = verify(planned, before, made.path, progress)
        except MediaError:
            # On a full disk, a muxer may succeed and leave a truncated file.
            if error := made.no_room():
                raise unwritable(planned.dst, error) from error
            raise
        yield Copy(planned, made.path, lost, made, whole)


def _run(planned: Plan, before: Contents, made: Draft, progress: Progress | None) -> None:
    """Fill the draft, by ffmpeg or without it: the first half of the work."""

    if planned.shifts:
        write_shifted(planned.src, before.container, planned.shifts, made)
        return
    if planned.listed:
        write_listed(planned.src, planned.listed, made)
        return

    def on_time(time_s: float) -> None:
        show(progress, before, time_s - before.start_s, 0.0, 0.5)

    try:
        if planned.finish:
            with draft(planned.dst) as first:
                _copy(planned, first, on_time)
                arguments = [*FROM_MATROSKA, source(first.path), *planned.finish]
                _run_ffmpeg(planned, arguments, made, on_time)
        else:
            _copy(planned, made, on_time)
    except FfmpegError as error:
        # Muxers and their bitstream filters complain of streams in words of their own.
        if error.lines:
            first = error.lines[0].split(". ")[0]
            raise UnfitTargetError(
                f"{planned.dst.suffix} cannot hold the streams of {planned.src.name} ({first})"
            ) from error
        raise
    show(progress, before, math.inf, 0.0, 0.5)


def _copy(planned: Plan, made: Draft, on_time: Callable[[float], None]) -> None:
    """Fill a draft by a plan's arguments, with the times of presentation that the source lacks."""
    _run_ffmpeg(planned, planned.arguments, made, on_time)
    if planned.reordered:
        write_held(planned.src, *planned.reordered, made)


def _run_ffmpeg(
    planned: Plan, arguments: Sequence[str], made: Draft, on_time: Callable[[float], None]
) -> None:
    run_ffmpeg(["-y", *arguments[:-1], source(made.path)], f"copy {planned.src}", made, on_time=on_time)
