"""Exit code 1 is a verdict, whatever a library does; and a crash ends in a sentence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GUARDED = """
import ctypes, os, signal, sys, threading, time
from avsync.cli.exit_guard import in_child
from avsync.cli.signals import end_by_exceptions

def work():
    {}
    return 0

sys.exit(in_child(work))
"""


def guarded(work: str) -> list[str]:
    return [sys.executable, "-c", GUARDED.format(work)]


def ran(work: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(guarded(work), check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_code_is_that_of_the_work(code: int):
    done = ran(f"return {code}")
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize(
    ("work", "why"),
    [
        ("ctypes.CDLL(None).exit(1)", "a library ended it"),
        (
            "threading.Thread(target=ctypes.CDLL(None).exit, args=(1,)).start(); time.sleep(9)",
            "a library ended",
        ),
        ("ctypes.string_at(0)", "crashed (SIGSEGV)"),
        ("ctypes.CDLL(None).abort()", "crashed (SIGABRT)"),
        ("os.kill(os.getpid(), signal.SIGBUS)", "crashed (SIGBUS)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed, perhaps because memory ran out"),
    ],
)
def test_an_end_without_a_code_is_a_failure_with_a_sentence(work: str, why: str):
    done = ran(work)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert why in done.stderr


def test_a_crash_after_the_work_does_not_change_its_code():
    done = ran("import atexit; atexit.register(os.abort); return 3")
    assert (done.returncode, done.stderr) == (3, "")


def started(work: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        guarded(f"end_by_exceptions(); ready = lambda: print(os.getpid(), flush=True); {work}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    return process


def child_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_signal_for_the_command_ends_the_work_once(number: signal.Signals, code: int, whole_group: bool):
    work = "\n    try: ready(); time.sleep(60)\n    finally: time.sleep(0.1); print('cleaned up', flush=True)"
    process = started(work)
    child_of(process)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    said, _ = process.communicate(timeout=30)
    assert said == "cleaned up\n"
    assert process.returncode == code


@pytest.mark.parametrize(("number", "times"), [(signal.SIGTERM, 2), (signal.SIGHUP, 2), (signal.SIGINT, 1)])
def test_a_signal_that_python_may_have_missed_is_passed_on_again(number: signal.Signals, times: int):
    work = f"""
    seen = []
    signal.signal({number:d}, lambda *_: seen.append(1))
    ready()
    end = time.monotonic() + 1.5
    while time.monotonic() < end: time.sleep(0.01)
    print(len(seen), flush=True)"""
    process = started(work)
    child_of(process)
    os.kill(process.pid, number)
    said, _ = process.communicate(timeout=30)
    assert said == f"{times}\n"


def test_a_second_ctrl_c_ends_the_work_at_once():
    process = started("\n    try: ready(); time.sleep(60)\n    except KeyboardInterrupt: time.sleep(60)")
    child_of(process)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.4)
    process.communicate(timeout=20)
    assert process.returncode == 130


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_work_dies_with_the_command():
    process = started("ready(); time.sleep(60)")
    child = child_of(process)
    process.kill()
    process.communicate(timeout=20)  # the child held the other end of stdout
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(child, 0)
            time.sleep(0.1)


def test_what_nohup_ignores_stays_ignored():
    process = subprocess.Popen(
        guarded("end_by_exceptions(); print(1, flush=True); time.sleep(1); return 3"),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=20)
    assert process.returncode == 3


@pytest.mark.slow
def test_libgomp_without_threads_does_not_read_as_out_of_sync(early: Path):
    """It calls C's exit(1) where it gets no thread; here, since each would need 200 TB of stack."""
    done = subprocess.run(
        [sys.executable, "-m", "avsync", "check", str(early)],
        check=False,
        env={**os.environ, "OMP_STACKSIZE": "200000G", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    if "Thread creation failed" not in done.stderr:
        pytest.skip("PyTorch here computes without libgomp")
    assert done.returncode == 4
    assert "a library ended it" in done.stderr
