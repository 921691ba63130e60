"""Watch a stream: a reading every few seconds, and a new connection whenever it breaks."""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from avsync.core.errors import MediaError
from avsync.core.options import CheckOptions
from avsync.core.report import Report
from avsync.live.addresses import protocols, shown
from avsync.live.receive import SILENT_S, Connection, Piece, connected
from avsync.live.rolling import Rolling

if TYPE_CHECKING:
    from avsync.networks.ready import Ready

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Wait before a new connection, doubled after each failure."""


@dataclass(frozen=True)
class Reading:
    """The state of a stream at a moment. `report` covers the last seconds; None if the connection failed, for
    the reason `failed`. `lag_s`: time from the arrival of the newest frame to this reading. `lost`: pieces
    dropped for lack of time; `reconnects`: broken connections."""

    address: str
    time: datetime
    report: Report | None
    lag_s: float
    reconnects: int
    lost: int
    failed: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the fields of the report that matter for monitoring."""
        plain = {} if self.report is None else self.report.to_dict()
        kept = ("verdict", "offset_ms", "uncertainty_ms", "probability", "standard", "reasons", "faults")
        return {
            "schema": 1,
            "address": self.address,
            "time": self.time.isoformat(timespec="milliseconds"),
            "connected": self.report is not None,
            **{name: plain.get(name) for name in kept},
            "window_s": plain.get("duration_s"),
            "lag_s": round(self.lag_s, 2),
            "reconnects": self.reconnects,
            "lost": self.lost,
            "failed": self.failed or None,
        }


def monitor(
    address: str,
    loaded: Ready,
    options: CheckOptions,
    *,
    every_s: float = 5.0,
    window_s: float = 30.0,
    give_up_after: int | None = None,
    for_s: float = math.inf,
) -> Generator[Reading, None, None]:
    """Readings of a stream, every `every_s` seconds or at the next key frame, each over the last `window_s`
    seconds, and one more whenever the connection fails, or where nothing else could be told in time. Ends
    after `give_up_after` failures in a row, or after `for_s` seconds.

    Raises:
        UsageError: the address is not a stream's.
        SetupError: there is no ffmpeg.
    """
    protocols(address)
    name = shown(address)
    rolling = Rolling(name, loaded, options, window_s)
    reconnects = lost = failures = 0
    wait_s, end, told = FIRST_WAIT_S, time.monotonic() + for_s, False
    while (give_up_after is None or failures < give_up_after) and time.monotonic() < end:
        rolling.clear()
        failed = ""
        with connected(address, every_s, options.audio_track) as connection:
            while time.monotonic() < end:
                piece, failed = _next(connection, SILENT_S + 2 * every_s, end)
                if piece is None:
                    break
                try:
                    report = rolling.add(piece)
                except MediaError as error:
                    log.warning("%s: %s", name, error)
                    continue
                finally:
                    piece.close()
                failures, wait_s, told = 0, FIRST_WAIT_S, True
                yield _reading(name, report, piece.arrived, reconnects, lost + connection.lost)
            lost += connection.lost
        if not failed:
            break
        failures += 1
        reconnects += 1
        told = True
        yield Reading(
            name, datetime.now(UTC), None, 0.0, reconnects, lost, failed=failed.replace(address, name)
        )
        if give_up_after is None or failures < give_up_after:
            time.sleep(max(0.0, min(wait_s, end - time.monotonic())))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    if not told:
        why = f"no reading could be made within {for_s:g} s"
        yield Reading(name, datetime.now(UTC), None, 0.0, reconnects, lost, failed=why)


def _next(connection: Connection, silent_s: float, end: float) -> tuple[Piece | None, str]:
    """The next piece, or why there is none: "" where only the time is up, at `end` on the monotonic clock."""
    left_s = end - time.monotonic()
    try:
        piece = connection.pieces.get(timeout=max(0.0, min(silent_s, left_s)))
    except queue.Empty:
        return None, f"nothing came for {silent_s:g} s" if silent_s < left_s else ""
    return piece, "" if piece else connection.failed


def _reading(name: str, report: Report, arrived: float, reconnects: int, lost: int) -> Reading:
    return Reading(name, datetime.now(UTC), report, time.monotonic() - arrived, reconnects, lost)
