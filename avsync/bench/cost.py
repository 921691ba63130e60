"""The cost of a check compared with plain decoding of the same file, in seconds of CPU time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avsync.core.errors import EXIT_CANNOT_TELL, EXIT_IN_SYNC, EXIT_OUT_OF_SYNC, MediaError, SetupError
from avsync.demo.clip import write_demo
from avsync.media.container import source
from avsync.media.ffmpeg import ffmpeg_path

VERDICTS = (EXIT_IN_SYNC, EXIT_OUT_OF_SYNC, EXIT_CANNOT_TELL)
SHORT_S = 3.5
"""Length of the clip that measures the cost of starting up."""


@dataclass(frozen=True)
class Cost:
    """Cost of one command: seconds of CPU time over all its threads, and of wall time."""

    cpu_s: float
    wall_s: float


def against_decoding(video: Path, model: str) -> dict[str, Any]:
    """Cost of an exhaustive `avsync check` of `video`, of `ffmpeg -f null` on it, and of a check of SHORT_S
    seconds of a synthetic talking head, which is mostly imports and loading. Every command is a separate
    process.

    Raises:
        MediaError: the video cannot be decoded or checked.
    """
    decoding = cost([ffmpeg_path(), "-v", "error", "-nostdin", "-i", source(video), "-f", "null", "-"])
    checking = cost(_check(video, model))
    with tempfile.TemporaryDirectory(prefix="avsync-bench-") as folder:
        starting = cost(_check(write_demo(Path(folder) / "short.mp4", duration_s=SHORT_S), model))
    return {
        "decoding": asdict(decoding),
        "check": asdict(checking),
        "short_clip": asdict(starting),
        "ratio": round(checking.cpu_s / decoding.cpu_s, 2),
    }


def cost(command: list[str]) -> Cost:
    """The cost of a command, including the child processes that it waits for.

    Raises:
        MediaError: its exit code is not that of a verdict.
        SetupError: the system does not say what a process used, as Windows does not.
    """
    if not hasattr(os, "wait4"):
        raise SetupError(
            "The processor time of a command cannot be measured on this system; use Linux or macOS."
        )
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in VERDICTS:
            said.seek(0)
            why = said.read().decode(errors="replace").strip()[-300:]
            raise MediaError(f"{command[0]} ended with code {child.returncode}: {why}")
    return Cost(round(used.ru_utime + used.ru_stime, 3), round(wall_s, 3))


def _check(video: Path, model: str) -> list[str]:
    options = ("--model", model, "--sample", "exhaustive", "--json", "--quiet")
    return [sys.executable, "-m", "avsync", "check", str(video.absolute()), *options]
