"""Memory that a process no longer needs goes back to the system, and nothing else does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from avsync.core.resident import unchanged_code

linux = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is resident")

SMAPS = """\
1000-3000 r-xp 00000000 fe:00 1    /usr/lib/libone.so
Size:                  8 kB
Anonymous:             0 kB
3000-4000 r--p 00000000 fe:00 1    /usr/lib/libone.so
Anonymous:             0 kB
5000-6000 r-xp 00000000 fe:00 2    /opt/with a space/libtwo.so.3
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7000-8000 r-xp 00000000 fe:00 3    /usr/lib/relocated.so
Anonymous:             4 kB
8000-9000 rwxp 00000000 00:00 0
Anonymous:             0 kB
a000-b000 r-xp 00000000 00:00 0    [vdso]
Anonymous:             0 kB
"""


def test_only_code_as_it_is_in_its_file_is_given_back() -> None:
    assert list(unchanged_code(SMAPS)) == [(0x1000, 0x3000), (0x5000, 0x6000)]


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
def test_code_that_only_loading_needed_is_given_back_and_the_rest_still_runs() -> None:
    before, after, result = run(
        "import numpy as np, torch\n"
        "print(resident_mb('RssFile'))\n"
        "resident.give_back()\n"
        "print(resident_mb('RssFile'))\n"
        "print(float(torch.ones(8, 8).matmul(torch.ones(8, 8)).sum()) + np.fft.rfft(np.ones(4)).real[0])\n"
    )
    assert after < 0.7 * before
    assert result == 8 * 8 * 8 + 4


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
