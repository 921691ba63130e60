"""How much of the machine's memory the process holds on to. On Linux only; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Numbers of glibc's malloc.h."""
ARENAS = 1
FRAME_BYTES = 1_000_000
TRIMMED_BYTES = 16_000_000
"""Free memory at the end of the heap that is kept: to give it back and fetch it anew costs a page fault for
every 4 kB."""


def share_heap() -> None:
    """Threads share ARENAS heaps instead of having one each, whose freed memory no other thread can use; and
    what is as large as a frame is given back when it is freed."""
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, ARENAS)
        libc.mallopt(M_MMAP_THRESHOLD, FRAME_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, TRIMMED_BYTES)


def give_back() -> None:
    """Gives back freed memory that lies between blocks in use.

    Records of faces that stay for the whole film lie scattered over what its frames and networks took, so
    that otherwise the heap grows for hours.
    """
    if libc := _glibc():
        libc.malloc_trim(0)


@lru_cache
def _glibc() -> Any:
    """The C library where it is glibc, else None."""
    if sys.platform != "linux":
        return None
    with suppress(OSError):
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "gnu_get_libc_version") else None
    return None
