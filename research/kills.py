"""Ends commands of avsync at random moments, and counts what they leave: the figures of docs/reliability.md.

.venv/bin/python research/kills.py FOLDER --kills 50 --seconds 420
Goes on where it was stopped: FOLDER/kills.jsonl has a line for each kill. Needs Linux. To save the seconds of
importing, commands are forked from this process, which has imported everything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP)
PATIENCE_S = 20.0
VIDEOS = 8
STEPS = 30


@dataclass
class Kind:
    """A command that is ended again and again: `start` gives its arguments, and `wrong` says what is not as
    it should be afterwards, `done` being whether it came to its end."""

    start: Callable[[], list[str]]
    wrong: Callable[[bool], list[str]]
    before: Callable[[], None] = lambda: None
    """Called in the forked process."""


# --- The four commands ---------------------------------------------------------------------


def repair(folder: Path, method: str) -> Kind:
    """One shift, or a middle that is retimed; the measurements are given, so that the work is the repair."""
    source, home = folder / "in.mkv", folder / "home"
    target = home / "out.mkv"
    sizes: set[int] = set()
    home.mkdir(parents=True, exist_ok=True)
    if not source.exists():
        four_minutes(source)

    def measured() -> None:
        from avsync import api
        from avsync.core.report import Fault, Report, Segment

        middle = Segment(7, 14, 200.0, 8, 0.9, fault=True)
        segments = (Segment(0, 7, 0.0, 8, 0.9), middle, Segment(14, 240, 0.0, 8, 0.9))
        faults = (Fault(7, 14, 200.0, 8.0, 0.9, "severe"),)
        answers = [
            Report(
                str(source), "out-of-sync", 0.0, 8.0, 0.97, duration_s=240.0, faults=faults, segments=segments
            ),
            Report(str(source), "in-sync", 0.0, 8.0, 0.97, duration_s=240.0),
        ]
        api.measure = lambda *_: answers.pop(0)

    def start() -> list[str]:
        target.unlink(missing_ok=True)
        how = ["--offset-ms", "120"] if method == "copy" else ["--method", "retime"]
        return ["fix-offset", str(source), str(target), *how, "--quiet"]

    def wrong(done: bool) -> list[str]:
        left = [path.name for path in home.iterdir() if path != target]
        faults = [f"left {name}" for name in left]
        if target.exists():
            sizes.add(target.stat().st_size)  # it appears whole or not at all
            faults += ["another size"] if len(sizes) > 1 else []
        elif done:
            faults.append("no file")
        return faults

    return Kind(start, wrong, before=measured if method == "retime" else lambda: None)


def four_minutes(path: Path) -> None:
    """A film with sixty megabytes of PCM, which take a second or so to copy and check."""
    from clap_factory import H264, clap

    one = clap(path.with_name("one.mkv"), *H264, "-c:a", "pcm_s24le", "-ar", "96000")
    call = ["-v", "error", "-stream_loop", "59", "-i", str(one), "-c", "copy", str(path)]
    subprocess.run([ffmpeg(), *call], check=True)


def ffmpeg() -> str:
    """The program that avsync writes with."""
    from avsync.media.ffmpeg import ffmpeg_path

    return ffmpeg_path()


def batch(folder: Path) -> Kind:
    """Short videos and what is none, by two processes into one ledger that is gone on with."""
    videos, ledger = folder / "videos", folder / "home" / "out.jsonl"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    if not videos.exists():
        from avsync.demo.clip import write_demo

        clip = write_demo(folder / "early.mp4", offset_ms=120, duration_s=2)
        videos.mkdir()
        for number in range(VIDEOS):
            (videos / f"{number}.mp4").symlink_to(clip) if number % 4 else (
                videos / f"{number}.mp4"
            ).write_text("no video")
    kept: set[str] = set()

    def start() -> list[str]:
        if len(kept) == VIDEOS:
            ledger.unlink()
            kept.clear()
        return ["check", str(videos), "--workers", "2", "--jsonl", str(ledger), "--resume", "--quiet"]

    def wrong(done: bool) -> list[str]:
        lines = ledger.read_text().splitlines(keepends=True) if ledger.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        paths = [row["path"] for row in rows]
        faults = [f"lost {path}" for path in kept.difference(paths)]
        faults += ["two rows for one file"] if len(paths) > len(set(paths)) else []
        faults += [f"left {path.name}" for path in ledger.parent.iterdir() if path != ledger]
        faults += ["not all rows"] if done and len(paths) < VIDEOS else []
        # A resumed run takes out the rows of files that failed, and does them again.
        kept.clear()
        kept.update(paths if len(paths) == VIDEOS else [r["path"] for r in rows if r["verdict"] != "error"])
        return faults

    return Kind(start, wrong)


def train(folder: Path) -> Kind:
    """A tiny network that saves every other step and is resumed, or begun anew where nothing was saved."""
    from distill_factory import FAST, TINY, wav2lip_set

    from avsync.distill.checkpoint import load_state
    from avsync.distill.monitor import read_metrics
    from avsync.networks.checkpoint import load

    home = folder / "home"
    run, out = home / "run", home / "models" / "tiny.safetensors"
    data, cache, config = folder / "data", folder / "cache", folder / "config.yaml"
    if not data.exists():
        wav2lip_set(data)
    home.mkdir(parents=True, exist_ok=True)
    steps = {"samples_per_epoch": STEPS // 3 * FAST["batch"], "epochs": 3, "save_steps": 2, "ema": 0.9}
    config.write_text(json.dumps({**FAST, "student": TINY, **steps}))

    def start() -> list[str]:
        if out.exists() and out.with_suffix(".yaml").exists():
            shutil.rmtree(home)
            home.mkdir()
        common = ["train", "--workers", "1", "--quiet"]
        if (run / "last.pt").exists():
            return [*common, "--resume", str(run)]
        shutil.rmtree(run, ignore_errors=True)
        places = ["--data", str(data), "--cache", str(cache), "--run-dir", str(run), "--out", str(out)]
        return [*common, "--config", str(config), *places]

    def wrong(done: bool) -> list[str]:
        everything = [*home.rglob("*"), *cache.rglob("*")]
        faults = [
            f"left {path.name}"
            for path in everything
            if path.suffix in (".tmp", ".part") or ".tmp." in path.name
        ]
        if (run / "last.pt").exists():
            load_state(run)
        for path in [*run.glob("*.safetensors"), *out.parent.glob("*.safetensors")]:
            load(path, "cpu")
        if done:
            seen = [entry["step"] for entry in read_metrics(run) if "loss" in entry]
            faults += ["lost or repeated steps"] if seen != sorted(set(seen)) or len(seen) < STEPS else []
            faults += [] if out.exists() else ["no checkpoint"]
        return faults

    return Kind(start, wrong)


KINDS: dict[str, Callable[[Path], Kind]] = {
    "copy": lambda folder: repair(folder, "copy"),
    "retime": lambda folder: repair(folder, "retime"),
    "batch": batch,
    "train": train,
}

# --- Killing ---------------------------------------------------------------------------------


def forked(kind: Kind, temporary: Path, stderr: Path) -> int:
    """Start the command in a session of its own; its process number."""
    arguments = kind.start()
    number = os.fork()
    if number:
        return number
    code = 4
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may have started this script
        os.environ["TMPDIR"], tempfile.tempdir = str(temporary), None
        sys.argv = ["avsync", *arguments]
        with stderr.open("wb") as complaints, Path(os.devnull).open("r+b") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(nothing.fileno(), 1)
            os.dup2(complaints.fileno(), 2)
        kind.before()
        from avsync.cli.app import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 4
    finally:
        os._exit(code)


def ended(number: int, after_s: float, sent: signal.Signals) -> tuple[int, bool]:
    """(exit code, whether the signal was sent): of a process that is sent one unless it has ended by then."""
    limit = time.monotonic() + after_s
    while time.monotonic() < limit:
        if (found := os.waitpid(number, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(found[1]), False
        time.sleep(0.01)
    os.kill(number, sent)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), True


def one(name: str, kind: Kind, folder: Path, after_s: float, sent: signal.Signals) -> dict[str, object]:
    """End the command after that time, and look at what it left."""
    from killing import of_session

    temporary, stderr = folder / "tmp", folder / "stderr"
    temporary.mkdir(exist_ok=True)
    began = time.monotonic()
    number = forked(kind, temporary, stderr)
    code, struck = ended(number, after_s, sent)
    took_s = time.monotonic() - began
    while (alive := of_session(number)) and time.monotonic() - began - took_s < PATIENCE_S:
        time.sleep(0.05)
    struck = struck and code in (-sent, 128 + sent, 130)
    wrong = [f"still alive: {line}" for line in alive]
    wrong += [f"left {path.name} in TMPDIR" for path in temporary.iterdir()]
    said = stderr.read_text(errors="replace")
    wrong += ["traceback"] if "Traceback" in said else []
    wrong += [] if struck or code in (0, 1, 4) else [f"exit code {code}"]
    try:
        wrong += kind.wrong(not struck)
    except Exception as error:
        wrong.append(f"{type(error).__name__}: {error}"[:300])
    row = {"kind": name, "signal": sent.name, "after_s": round(took_s, 2), "struck": struck, "code": code}
    return {**row, "wrong": wrong, "stderr": said[-300:]}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("kinds", nargs="*", default=list(KINDS))
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--seconds", type=float, default=1e9, help="stop after this time")
    asked = options.parse_args()
    began = time.monotonic()
    import avsync.api
    import avsync.distill.run
    import avsync.networks.checkpoint
    import avsync.repair.fix  # noqa: F401

    asked.folder.mkdir(parents=True, exist_ok=True)
    record = asked.folder / "kills.jsonl"
    rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    for name in asked.kinds:
        folder = asked.folder / name
        folder.mkdir(exist_ok=True)
        kind = KINDS[name](folder)
        while sum(row["struck"] for row in rows if row["kind"] == name) < asked.kills:
            if time.monotonic() - began > asked.seconds:
                break
            own = [row for row in rows if row["kind"] == name]
            # A first run to its end shows how long one takes; so does any other.
            whole = [row["after_s"] for row in own if not row["struck"]]
            chance = random.Random(len(own))  # noqa: S311
            after_s = chance.uniform(0, min(whole[-3:])) if whole else 600.0
            row = one(name, kind, folder, after_s, SIGNALS[len(own) % len(SIGNALS)])
            rows.append(row)
            with record.open("a") as file:
                file.write(json.dumps(row) + "\n")
    table(rows)


def table(rows: list[dict]) -> None:
    """What was found, as Markdown."""
    print("| command | ended early | KILL, TERM, HUP | after, s | whole run, s | with something amiss |")
    print("| --- | ---: | --- | --- | ---: | ---: |")
    for name in dict.fromkeys(row["kind"] for row in rows):
        struck = [row for row in rows if row["kind"] == name and row["struck"]]
        whole = [row["after_s"] for row in rows if row["kind"] == name and not row["struck"]]
        by_signal = ", ".join(
            str(sum(row["signal"] == sent for row in struck)) for sent in ("SIGKILL", "SIGTERM", "SIGHUP")
        )
        times = [row["after_s"] for row in struck] or [0.0]
        amiss = [row for row in rows if row["kind"] == name and row["wrong"]]
        when = f"{min(times)} to {max(times)} | {min(whole, default=0)}"
        print(f"| {name} | {len(struck)} | {by_signal} | {when} | {len(amiss)} |")
        for row in amiss:
            print(f"  {row}", file=sys.stderr)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
