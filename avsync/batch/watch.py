"""Watch a folder for files and tell which are complete.

The folder is polled instead of using file system events, which network drives do not send and which do not
tell whether a copy is finished.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from avsync.batch.apart import apart
from avsync.batch.inputs import videos_below
from avsync.core.errors import MediaError
from avsync.media.probe import probe, state

POLL_S = 1.0
LOOK_S = 60.0
"""How long it may take to open a file."""
PATIENCE = 12
"""A file that no longer changes but cannot be read, or is shorter than its header says, counts as complete
after this many times the settling time: it is broken then, and a check says how."""

State = tuple[int, int]


@dataclass
class _Resting:
    """A file whose state has not changed since `since` (monotonic clock); to be opened next at `look_at`."""

    state: State
    since: float
    look_at: float


def arrivals(folder: Path, *, settle_s: float = 5.0, poll_s: float = POLL_S) -> Iterator[list[Path]]:
    """Complete videos below a folder, as they arrive, beginning with those already there; never ends.

    A video is complete when its size and modification time have not changed for `settle_s` seconds and it can
    be read to the end that its header claims. One that changes later arrives again. An empty list is yielded
    after each poll, so that the caller can do something else.

    Raises MediaError when the folder cannot be read.
    """
    resting: dict[Path, _Resting] = {}
    done: dict[Path, State] = {}
    while True:
        if not folder.is_dir():
            raise MediaError(f"The folder {folder} is gone; start again when it is there.")
        now = time.monotonic()
        complete: list[Path] = []
        there = list(videos_below(folder))
        for path in there:
            current = state(path)
            if current is None or done.get(path) == current:
                continue
            known = resting.get(path)
            if known is None or known.state != current:
                resting[path] = _Resting(current, now, now + settle_s)
            elif now >= known.look_at:
                if is_whole(path) or now - known.since >= PATIENCE * settle_s:
                    complete.append(path)
                    done[path] = current
                    del resting[path]
                else:
                    known.look_at = now + settle_s
        present = set(there)
        for gone in [path for path in (*resting, *done) if path not in present]:
            resting.pop(gone, None)
            done.pop(gone, None)
        yield complete
        time.sleep(poll_s)


def is_whole(path: Path) -> bool:
    """Whether a file can be read, and is as long as its header says; tested in a separate process, which a
    hostile file may crash or stall without ending the watch."""
    return apart(_is_whole, path, LOOK_S) is True


def _is_whole(path: Path) -> bool:
    """Whether a file can be read and is as long as its header says."""
    try:
        media = probe(path)
    except MediaError:
        return False
    return media.header_s is None and not media.unread_bytes
