"""Exit codes that no library can forge: 1 means "out of tolerance", and C libraries exit with 1 in trouble.

libgomp and OpenBLAS call C's exit(1) where they get no memory or no thread; no Python code runs after that.
But the C library does call what was registered with it, the latest first. So `_exit` is registered twice:
first with the code of a failure, which holds while the command works, and again with the command's own code
once that is known.
"""

from __future__ import annotations

import ctypes


def end_with(code: int) -> None:
    """From now on the process ends with `code`, whatever C's exit() is called with. No effect where the C
    library has no __cxa_atexit (Windows)."""
    try:
        c = ctypes.CDLL(None)
        register, leave = c.__cxa_atexit, ctypes.cast(c._exit, ctypes.c_void_p)
    except (AttributeError, OSError, TypeError):
        return
    register.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    register(leave, code, None)
