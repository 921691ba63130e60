"""What only some systems have is missed nowhere: a check, a batch and a repair without the calls of Linux and
POSIX. It runs here, so it says nothing of the paths, locks and programs of Windows and macOS."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from talk_factory import EARLY_MS, Talk

WITHOUT = """
import mmap, os, signal, sys
del mmap.MADV_DONTNEED
for module in ("fcntl", "resource"):
    sys.modules[module] = None
for name in ("O_TMPFILE", "fchmod", "sched_getaffinity", "fork", "posix_fallocate", "wait4"):
    delattr(os, name)
for name in ("pthread_sigmask", "SIGHUP", "SIGALRM", "setitimer"):
    delattr(signal, name)

# Windows neither renames nor replaces a file that is open.
from avsync.core import draft
draft.RENAMES_OPEN = False
replace = os.replace

def replaced(source, target, **more):
    numbers = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    held = {os.readlink(number) for number in numbers if os.path.lexists(number)}
    for path in map(os.path.realpath, (source, target)):
        if path in held:
            raise PermissionError(13, "The process cannot access the file", path)
    replace(source, target, **more)

os.replace = os.rename = replaced
"""
WORK = """
import pkgutil, importlib, runpy, avsync
for module in pkgutil.walk_packages(avsync.__path__, "avsync."):
    if not module.name.startswith(("avsync.models", "avsync.__main__")):
        importlib.import_module(module.name)
if __name__ == "__main__":
    assert avsync.check("talk.mp4", stride=5).verdict == "out-of-sync"
    assert [report.verdict for report in avsync.check_many(["talk.mp4"], stride=5)] == ["out-of-sync"]
    assert avsync.fix_offset("talk.mp4", "fixed.mp4", offset_ms=120).written
    assert avsync.fix_offset("talk.mp4", "fixed.mp4", offset_ms=120, force=True).written
    for again in ([], ["--resume"], ["--resume"]):
        sys.argv = ["avsync", "check", "talk.mp4", "fixed.mp4", "--stride", "5"]
        sys.argv += ["--jsonl", "all.jsonl", *again]
        sys.argv += ["--report", "all.html", "--csv", "all.csv", "--plot", "plots", "--markers", "{name}.edl"]
        sys.argv += ["--overlay", "seen-{name}.mp4"]
        try:
            runpy.run_module("avsync", run_name="__main__")
        except SystemExit as end:
            assert end.code == 1, end.code
    assert len(open("all.jsonl").readlines()) == 2
"""
MADE = {"all.jsonl", "all.html", "all.csv", "plots", "talk.mp4.edl", "fixed.mp4.edl"}
MADE |= {"seen-talk.mp4.mp4", "seen-fixed.mp4.mp4"}


@pytest.mark.slow
def test_nothing_needs_what_only_some_systems_have(talk: Talk, tmp_path: Path):
    shutil.copy(talk(EARLY_MS, duration_s=8), tmp_path / "talk.mp4")
    (tmp_path / "work.py").write_text(WITHOUT + WORK)
    done = subprocess.run(
        [sys.executable, "work.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"talk.mp4", "work.py", "fixed.mp4"} | MADE
