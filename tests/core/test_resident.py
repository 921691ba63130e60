"""Memory that a process no longer needs goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what is resident")


def run(program: str) -> list[float]:
    """The numbers that a program prints, in a process of its own."""
    prelude = (
        "from avsync.core import resident\n"
        "def resident_mb(kind):\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", prelude + program], capture_output=True, text=True, check=True, timeout=120
    )
    return [float(number) for number in said.stdout.split()]


@linux
def test_freed_memory_between_what_stays_is_given_back() -> None:
    """As of films: records of faces stay between the memory that frames and networks took."""
    full, after = run(
        "resident.share_heap()\n"
        "blocks = [(b'x' * 500_000, b'x' * 5_000) for _ in range(200)]\n"
        "kept = [small for _, small in blocks]\n"
        "print(resident_mb('RssAnon'))\n"
        "del blocks\n"
        "resident.give_back()\n"
        "print(resident_mb('RssAnon'))\n"
    )
    assert full - after > 80
