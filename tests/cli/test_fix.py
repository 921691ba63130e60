"""fix-offset and demo on real media: what they print where, and their exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import run
from demo_factory import moved_demo


def test_a_dry_run_prints_the_sentence_and_the_command_and_writes_nothing(
    made: Callable[[str], Path], tmp_path: Path
):
    target = tmp_path / "out.mp4"
    asked = ("fix-offset", made("plain.mp4"), target, "--offset-ms", "-120", "--dry-run")
    done = run(*asked, "--standard", "itu")
    assert done.exit_code == 0
    sentence, command = done.stdout.splitlines()
    assert sentence == f"Would advance the audio by 120 ms and write {target}; nothing is written."
    assert "ffmpeg" in command.split()[0] and str(target) in command
    assert not target.exists()
    document = json.loads(run(*asked, "--json").stdout)
    assert (document["written"], document["offset_ms"], document["before"]) == (False, -120.0, None)
    assert document["method"] == "copy"


def test_a_given_offset_is_removed_without_measuring(made: Callable[[str], Path], tmp_path: Path):
    target = tmp_path / "out.mp4"
    done = run("fix-offset", made("plain.mp4"), target, "--offset-ms", "120")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{target}: delayed the audio by 120 ms; nothing was re-encoded.\n"
    assert target.stat().st_size
    assert run("fix-offset", made("plain.mp4"), target, "--offset-ms", "120").exit_code == 2
    assert run("fix-offset", made("plain.mp4"), target, "--offset-ms", "120", "--force").exit_code == 0


def test_a_video_without_a_face_exits_3(made: Callable[[str], Path], tmp_path: Path):
    done = run("fix-offset", made("plain.mp4"), tmp_path / "out.mp4")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "nothing is written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.slow
def test_it_says_on_stderr_that_it_re_encodes(tmp_path: Path):
    clip = moved_demo(tmp_path / "in.mp4", lambda t: np.where(t >= 15, 300.0, 0.0))
    done = run("fix-offset", clip, tmp_path / "out.mp4", "--method", "retime", "--json")
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith(f"{clip}: audio track 0 is ")
    assert "re-encoded (" in done.stderr
    document = json.loads(done.stdout)
    assert (document["method"], document["written"]) == ("retime", True)
    assert document["after"]["verdict"] == "in-sync"


@pytest.mark.slow
def test_the_demo_command_finds_and_mends_its_own_error(tmp_path: Path):
    done = run("demo", "--out", tmp_path / "demo")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["clip.mp4", "fixed.mp4"]
