"""How much of the machine's memory the process holds on to. On Linux only; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Numbers of glibc's malloc.h."""
ARENAS = 1
FRAME_BYTES = 1_000_000
TRIMMED_BYTES = 16_000_000
"""Free memory at the end of the heap that is kept: to give it back and fetch it anew costs a page fault for
every 4 kB."""
MADV_DONTNEED = 4
"""Of Linux's mman-common.h."""
SMAPS = Path("/proc/self/smaps")


def share_heap() -> None:
    """Threads share ARENAS heaps instead of having one each, whose freed memory no other thread can use; and
    what is as large as a frame is given back when it is freed."""
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, ARENAS)
        libc.mallopt(M_MMAP_THRESHOLD, FRAME_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, TRIMMED_BYTES)


def give_back() -> None:
    """Gives back what is not in use: freed memory between blocks that are, and pages of the libraries' code.

    Records of faces that stay for the whole film lie scattered over what its frames and networks took, so
    that otherwise the heap grows for hours. Of the code of PyTorch and OpenCV, loading them and preparing a
    network go through twice as much as a check does; what it needs the system reads again.
    """
    if not (libc := _glibc()):
        return
    libc.malloc_trim(0)
    with suppress(OSError):
        for start, end in unchanged_code(SMAPS.read_text(errors="replace")):
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)


def unchanged_code(smaps: str) -> Iterator[tuple[int, int]]:
    """Addresses (start, end) of the mappings in the text of a /proc/PID/smaps that hold code as it is in its
    file; not of libraries whose code was relocated in memory, which the file does not have."""
    start = end = 0
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_code = words[1] == "r-xp" and len(words) > 5 and words[5].startswith("/")
            start, end = (int(edge, 16) for edge in words[0].split("-")) if is_code else (0, 0)
        elif words[0] == "Anonymous:" and words[1] == "0" and end:
            yield start, end


@lru_cache
def _glibc() -> Any:
    """The C library where it is glibc, else None."""
    if sys.platform != "linux":
        return None
    with suppress(OSError):
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "gnu_get_libc_version") else None
    return None
