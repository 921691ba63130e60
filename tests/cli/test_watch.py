"""`check --watch` and the targets that go into one file, through the real command."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import run
from media_factory import bar_and_click


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "Nothing to check was named"),
        (["check", "--watch", "nowhere"], "nowhere is not a folder"),
        (["check", "a.mp4", "--watch", "."], "--watch takes a folder alone"),
        (["check", "--watch", ".", "--json"], "--watch takes a folder alone"),
        (["check", "--watch", ".", "--report", "x.html"], "need a run that ends"),
        (["check", "--watch", ".", "--csv", "x.csv"], "need a run that ends"),
        (["check", "--watch", ".", "--markers", "x.edl"], "Several files cannot share the markers"),
        (["check", "--watch", ".", "--markers", "{name}.aaf"], "is not a marker file"),
        (["check", "a.mp4", "b.mp4", "--markers", "x.edl"], "Several files cannot share the markers"),
        (["check", "a.mp4", "b.mp4", "--overlay", "x.mp4"], "Several files cannot share the overlay"),
        (["check", "a.mp4", "--markers", "x.aaf"], "x.aaf is not a marker file"),
        (["check", "a.mp4", "--overlay", "x.mkv"], "x.mkv is not the name of an .mp4 file"),
        (["check", "a.mp4", "--overlay", "a.mp4"], "is not an overlay written by avsync"),
        (["check", "a.mp4", "--markers", "-"], "Only --json and --jsonl"),
        (["check", "a.mp4", "--on-verdict", "no-such-program"], "names no program"),
        (["check", "a.mp4", "--webhook", "http://x"], "not an https address"),
    ],
)
def test_contradictory_options_are_refused_before_the_work(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftyp, a video of someone's")
    (tmp_path / "b.mp4").write_bytes(b"b")
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


@pytest.mark.slow
def test_what_arrives_is_checked_and_reported_once_also_after_a_restart(tmp_path: Path):
    folder, ledger, told = tmp_path / "in", tmp_path / "qc.jsonl", tmp_path / "told.txt"
    folder.mkdir()
    bar_and_click(folder / "no one; rm -rf x.mp4")
    hook = tmp_path / "hook.py"
    hook.write_text("import sys; print(*sys.argv[2:], file=open(sys.argv[1], 'a'))")
    call = [
        *(sys.executable, "-m", "avsync", "check", "-v", "--watch", folder, "--jsonl", ledger),
        *("--settle", "0.5"),
        *("--on-verdict", f"{sys.executable} {hook} {told} {{verdict}} {{path}}"),
    ]
    for _ in range(2):
        started = subprocess.Popen(
            [str(word) for word in call],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )
        assert started.stderr is not None
        assert any("watching" in line for line in started.stderr)
        until = time.monotonic() + 240
        while not told.exists() and time.monotonic() < until:
            time.sleep(0.2)
        time.sleep(5)
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=60)
        assert started.returncode == 0
    (line,) = ledger.read_text().splitlines()
    assert json.loads(line)["verdict"] == "cannot-tell"
    assert told.read_text() == f"cannot-tell {folder / 'no one; rm -rf x.mp4'}\n"
