"""A plain kill and a closed terminal end a command as Ctrl-C does: by an exception, so that it cleans up.

Only the first does. An exception that strikes while another is on its way through native code ends the
process with a crash, or leaves the clean-up half done. So a second Ctrl-C ends the process at once, and
whatever else comes is ignored; as with kill -9, nothing half-written has a name by then.
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
"""Ctrl-C reaches the whole group of a terminal, and whoever passes it on to its child: within this time it is
one."""


def end_by_exceptions() -> None:
    """Let SIGINT raise KeyboardInterrupt, and SIGTERM and SIGHUP SystemExit with the shell's code for them.
    What nohup or a shell's background job ignores stays so."""
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
    """Python drops an exception that is raised in a destructor or in a callback, such as those of imports;
    where it was to end the command, it is raised again a moment later."""
    error = dropped.exc_value
    if not isinstance(error, (KeyboardInterrupt, SystemExit)):
        sys.__unraisablehook__(dropped)
        return
    again = type(error)(*error.args)

    def strike(*_: object) -> None:
        raise again

    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
