"""Processes that end when the one that started them does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
# PyDLL keeps the interpreter's lock, which a call between fork and exec must not wait for.
_LIBC = ctypes.PyDLL(None) if sys.platform == "linux" else None


def die_with(parent: int, code: int) -> None:
    """Have the kernel kill this process when its parent, the process with that id, dies for whatever reason
    (on Linux); if it has died already, exit with `code` at once. May be called between fork and exec."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(code)
