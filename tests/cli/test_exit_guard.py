"""Exit code 1 is a verdict, whatever a library does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avsync.core.constants import DEFAULT_MODEL
from avsync.demo.clip import write_demo
from avsync.networks.checkpoint import available

GUARDED = "from avsync.cli.exit_guard import end_with; import ctypes, sys; end_with(4); "


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("ctypes.CDLL(None).exit(1)", 4),
        ("import threading; threading.Thread(target=ctypes.CDLL(None).exit, args=(1,)).start()", 4),
        ("raise ValueError", 4),
        ("end_with(1); sys.exit(1)", 1),
        ("end_with(0); ctypes.CDLL(None).exit(1)", 0),
    ],
)
def test_only_the_command_itself_decides_how_the_process_ends(program: str, code: int):
    done = subprocess.run([sys.executable, "-c", GUARDED + program], check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == code


def test_libgomp_without_threads_does_not_read_as_out_of_sync(tmp_path: Path):
    """It calls C's exit(1) where it gets no thread; here, since each would need 200 TB of stack."""
    if DEFAULT_MODEL not in available():
        pytest.skip(f"the model {DEFAULT_MODEL} is not here")
    clip = write_demo(tmp_path / "early.mp4", offset_ms=120, duration_s=4)
    done = subprocess.run(
        [sys.executable, "-m", "avsync", "check", str(clip)],
        check=False,
        env={**os.environ, "OMP_STACKSIZE": "200000G", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    if "Thread creation failed" not in done.stderr:
        pytest.skip("PyTorch here computes without libgomp")
    assert done.returncode == 4
