"""A signal ends the command, wherever in Python it strikes."""

import signal
import subprocess
import sys

import pytest

STRUCK = """
import os, signal, sys, time, weakref
from avsync.cli.signals import end_by_exceptions

class Thing:
    pass

end_by_exceptions()
number = int(sys.argv[1])
thing = Thing()
watch = weakref.ref(thing, lambda _: os.kill(os.getpid(), number))
try:
    del thing
    time.sleep(20)
except (KeyboardInterrupt, SystemExit):
    print("cleaned up", flush=True)
    raise
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_signal_that_strikes_in_a_callback_is_not_lost(number: signal.Signals, code: int):
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, str(int(number))],
        capture_output=True,
        text=True,
        check=False,
        timeout=15,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert done.stdout == "cleaned up\n"
    assert done.returncode == code
    assert "ignored" not in done.stderr


def test_other_errors_in_callbacks_are_shown_as_ever():
    program = "from avsync.cli.signals import end_by_exceptions as e; e(); import weakref\nclass A: pass\n"
    program += "a = A(); r = weakref.ref(a, lambda _: 1 / 0); del a; print('on')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "on\n"
    assert "ZeroDivisionError" in done.stderr
