"""A plain kill and a closed terminal end a command as Ctrl-C does: by an exception, so that it cleans up."""

from __future__ import annotations

import signal
import sys
from typing import Any

AGAIN_S = 0.01


def end_by_exceptions() -> None:
    """Let SIGTERM and SIGHUP raise SystemExit with the shell's code for them. What nohup ignores stays so."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))
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
