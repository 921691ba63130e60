"""SIGTERM and a closed terminal end a command like Ctrl-C: by an exception, so that it cleans up.

Only the first signal does so. An exception raised while another passes through native code crashes the
process or interrupts the clean-up. So a second Ctrl-C ends the process at once, and other signals are
ignored; as with kill -9, nothing half-written has its final name by then.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from avsync.core.errors import EXIT_INTERRUPTED

AGAIN_S = 0.01
TOGETHER_S = 0.2
"""Ctrl-C may arrive twice, from the terminal's process group and from a parent that passes it on; within this
time it counts once."""


def end_by_exceptions() -> None:
    """Let SIGINT raise KeyboardInterrupt, and SIGTERM and SIGHUP SystemExit with the shell's code for them.
    Signals ignored by nohup or a shell's background job stay ignored."""
    others = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    interrupted_s = 0.0
    ended = False

    def end(number: int, _frame: object) -> None:
        nonlocal ended
        if not ended:
            ended = True
            sys.exit(128 + number)

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal interrupted_s
        now = time.monotonic()
        if not interrupted_s:
            interrupted_s = now
            raise KeyboardInterrupt
        if now - interrupted_s > TOGETHER_S:
            os._exit(EXIT_INTERRUPTED)

    for number in others:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    if hasattr(signal, "setitimer"):
        sys.unraisablehook = _once_more


def _once_more(dropped: Any) -> None:
    """Python drops an exception raised in a destructor or callback, such as those of imports. If it was meant
    to end the command, it is raised again a moment later."""
    error = dropped.exc_value
    if not isinstance(error, (KeyboardInterrupt, SystemExit)):
        sys.__unraisablehook__(dropped)
        return
    again = type(error)(*error.args)

    def strike(*_: object) -> None:
        raise again

    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
