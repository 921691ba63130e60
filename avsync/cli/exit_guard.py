"""Exit codes that no library can fake, and a sentence if one crashes.

Native libraries end the process they run in: libgomp and OpenBLAS call exit(1), which would read as "out of
tolerance", where they get no memory or no thread; a codec that crashes on a hostile file ends it by a signal.
So the work is done in a child, forked before anything is imported (which takes no time), and the command ends
with the code that the child tells it. A child that ends without telling one has failed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from avsync.core.errors import EXIT_ERROR
from avsync.core.parent import die_with

ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command; they are passed on to the child."""
AGAIN_S = 0.2
"""SIGTERM and SIGHUP are passed on once more after this time, since Python misses a signal that comes just
before it blocks. They count once (`avsync.cli.signals`), while a second Ctrl-C would end the work at once."""


def in_child(work: Callable[[], int]) -> int:
    """The exit code that `work` returns in a child process; never 1 if it returns none."""
    if not hasattr(os, "fork"):  # Windows
        return work()
    told, tell = os.pipe()
    # What nohup has ignored stays so.
    heeded = {number for number in ENDINGS if signal.getsignal(number) is not signal.SIG_IGN}
    of_child = signal.signal(signal.SIGCHLD, lambda *_: None)  # what is ignored cannot be waited for
    waited = {*heeded, signal.SIGCHLD, signal.SIGALRM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(told)
        die_with(parent, EXIT_ERROR)
        signal.signal(signal.SIGCHLD, of_child)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        code = work()
        os.write(tell, bytes([code]))
        return code
    os.close(tell)
    received: list[int] = []
    again = signal.SIGALRM
    # Signals stay blocked and are waited for: a handler would miss one that comes just before `waitpid`.
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        number = signal.sigwait(waited)
        if number == signal.SIGCHLD:
            continue
        if number == signal.SIGALRM:
            number = again
        else:
            received.append(number)
            if number != signal.SIGINT:
                again = signal.Signals(number)
                signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        with suppress(ProcessLookupError):
            os.kill(child, number)
    status = ended[1]
    os.set_blocking(told, False)  # a process that the child left behind may hold the other end
    with suppress(BlockingIOError):
        if code := os.read(told, 1):
            return code[0]
    if received:
        return 128 + received[0]
    _say_why(os.waitstatus_to_exitcode(status))
    return EXIT_ERROR


def _say_why(code: int) -> None:
    """Print why a child returned no exit code."""
    if code >= 0:
        why = "a library ended it, perhaps because it got no memory or no thread"
    elif -code == signal.SIGKILL:
        why = "it was killed, perhaps because memory ran out"
    else:
        why = f"a library crashed ({signal.Signals(-code).name})"
    if sys.stderr is not None:
        said = f"avsync: The work ended without a result: {why}; try again, and report it if it persists."
        print(said, file=sys.stderr)
