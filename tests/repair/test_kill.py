"""A repair that is ended at any moment, by any signal, leaves no file and no process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import pytest
from clap_factory import H264, clap

KILLS = int(os.environ.get("AVSYNC_KILLS", "4"))
"""Repairs ended early, of each method; docs/repair.md has the figures of 50."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent"),
]

REPAIR = """
import sys
from pathlib import Path
from avsync.core.options import FixOptions
from avsync.core.report import Fault, Report, Segment
from avsync.repair.fix import fix_offset

src, dst, method = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
middle = Segment(7, 14, 200.0, 8, 0.9, fault=True)
segments = (Segment(0, 7, 0.0, 8, 0.9), middle, Segment(14, 240, 0.0, 8, 0.9))
faults = (Fault(7, 14, 200.0, 8.0, 0.9, "severe"),)
before = Report(
    str(src), "out-of-sync", 0.0, 8.0, 0.97, duration_s=240.0, faults=faults, segments=segments
)
after = Report(str(src), "in-sync", 0.0, 8.0, 0.97, duration_s=240.0)
answers = [before, after]
options = FixOptions(offset_ms=120.0 if method == "copy" else None, method=method)
print("begun", flush=True)
fix_offset(src, dst, options, measure=lambda path: answers.pop(0))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes with sixty megabytes of PCM, which take a second or so to copy and check."""
    one = clap(tmp_path_factory.mktemp("kill") / "one.mkv", *H264, "-c:a", "pcm_s24le", "-ar", "96000")
    path = one.with_name("in.mkv")
    call = ["-v", "error", "-stream_loop", "59", "-i", str(one), "-c", "copy", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *call], check=True)
    return path


@pytest.mark.parametrize("method", ["copy", "retime"])
def test_nothing_stays(source: Path, tmp_path: Path, method: str) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    call = [sys.executable, "-c", REPAIR, str(source), str(home / "out.mkv"), method]
    env = {**os.environ, "TMPDIR": str(scratch)}
    began = time.monotonic()
    with subprocess.Popen(call, env=env, stdout=subprocess.PIPE) as whole:
        assert whole.stdout is not None
        whole.stdout.readline()
        begun = time.monotonic()
        assert whole.wait() == 0
    length_s = time.monotonic() - begun
    size = (home / "out.mkv").stat().st_size
    (home / "out.mkv").unlink()
    rng, ended, number = random.Random(0), 0, 0
    while ended < KILLS:
        number += 1
        assert number < 5 * KILLS
        with subprocess.Popen(call, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as repair:
            assert repair.stdout is not None
            repair.stdout.readline()
            time.sleep(rng.uniform(0, 0.8 * length_s))
            repair.send_signal(SIGNALS[number % len(SIGNALS)])
        ended += repair.returncode != 0
        assert children(home) == [] and children(source.parent) == []
        for path in home.glob("out.mkv"):  # which appears whole, at the very end
            assert path.stat().st_size == size
            path.unlink()
        assert [*home.iterdir(), *scratch.iterdir()] == [], SIGNALS[number % len(SIGNALS)]
    print(
        f"{method}: {ended} of {KILLS} ended early, of {length_s:.1f} s, in {time.monotonic() - began:.0f} s"
    )
    assert ended > KILLS / 2


def children(folder: Path) -> list[int]:
    """Processes that are still about files in `folder`, half a second after their parent ended."""
    deadline = time.monotonic() + 0.5
    found = []
    while time.monotonic() < deadline:
        found = []
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if os.fsencode(folder) in line.read_bytes():
                    found.append(int(line.parent.name))
            except OSError:
                pass
        if not found:
            return []
        time.sleep(0.02)
    return found
