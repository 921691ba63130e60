"""Where a pattern of bytes lies in a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from avsync.media.transport import CHUNK_BYTES


def matches(path: Path, pattern: re.Pattern[bytes], length: int) -> Iterator[tuple[int, bytes]]:
    """(file position, `length` bytes) of each place at which the pattern is found. Raises OSError."""
    with path.open("rb") as file:
        place, data = 0, file.read(CHUNK_BYTES)
        while len(data) >= length:
            for match in pattern.finditer(data):
                if match.start() + length <= len(data):
                    yield place + match.start(), data[match.start() : match.start() + length]
            kept = data[1 - length :]
            place += len(data) - len(kept)
            more = file.read(CHUNK_BYTES)
            data = kept + more if more else b""
