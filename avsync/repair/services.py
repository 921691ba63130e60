"""What a transport stream has beside its streams, and ffmpeg's muxer writes anew: the numbers and the name of
its program, null packets, and parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avsync.media import tables
from avsync.media.parity import PACKET_BYTES
from avsync.media.transport import Reader

NULL_PID = 0x1FFF
STUFFED = 0.01
"""A stream with a larger share of null packets has a constant bit rate."""


def muxer_options(path: Path) -> list[str]:
    """ffmpeg's arguments that keep the numbers and the name of a file's program, if that is a single one."""
    pat = next((section for section in tables.sections(path) if section.is_pat), None)
    programs = tables.programs(pat.data) if pat else {}
    if pat is None or len(programs) != 1:
        return []
    [(program, pid)] = programs.items()
    numbers = {
        "-mpegts_transport_stream_id": tables.number(pat.data, 3),
        "-mpegts_service_id": program,
        "-mpegts_pmt_start_pid": pid,
    }
    named = ["-map_metadata:g", "0:p:0"]
    return [*named, *(word for option, value in numbers.items() for word in (option, str(value)))]


def lost(before: Path, after: Path) -> tuple[str, ...]:
    """What a copy of a transport stream in another has no longer."""
    old, new = _packets(before), _packets(after)
    found = []
    if old[0] > STUFFED > new[0]:
        found.append("a constant bit rate")
    if old[1] != new[1]:
        found.append(f"packets of {old[1]} bytes")
    return tuple(found)


def _packets(path: Path) -> tuple[float, int]:
    """The share of null packets, and the bytes of each; as in plain packets, where a file has none."""
    count, null, size = 0, 0, PACKET_BYTES
    with path.open("rb") as file:
        for packets in Reader(file).chunks():
            count, size = count + len(packets.data), packets.size
            null += int(np.count_nonzero(packets.pids == NULL_PID))
    return null / max(count, 1), size
