"""fix-offset and demo: what they pass on, what they print where, and their exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import run

from avsync.core.constants import DEFAULT_MODEL
from avsync.core.errors import CannotTell
from avsync.networks.library import available
from avsync.repair import fix


def test_fix_passes_its_options_on_and_prints_the_sentence(monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, Any] = {}

    def repair(src: Path, dst: Path, options: Any, **_told: Any) -> fix.FixResult:
        asked.update(src=src, dst=dst, options=options)
        return fix.FixResult(None, None, 120.0, "ffmpeg -i in.mp4", False, "Would delay audio by 120 ms.")

    monkeypatch.setattr(fix, "fix_offset", repair)
    done = run(
        "fix-offset", "in.mp4", "out.mp4", "--offset-ms", "-120", "--dry-run", "--force", "--standard", "itu"
    )
    assert done.exit_code == 0
    assert done.stdout == "Would delay audio by 120 ms.\nffmpeg -i in.mp4\n"
    assert (asked["src"], asked["dst"]) == (Path("in.mp4"), Path("out.mp4"))
    assert (asked["options"].offset_ms, asked["options"].force, asked["options"].dry_run) == (
        -120,
        True,
        True,
    )
    assert asked["options"].check.standard == "itu"
    document = json.loads(run("fix-offset", "in.mp4", "out.mp4", "--dry-run", "--json").stdout)
    assert (document["written"], document["offset_ms"], document["before"]) == (False, 120.0, None)


def test_fix_says_on_stderr_that_it_re_encodes_before_it_does(monkeypatch: pytest.MonkeyPatch):
    def repair(src: Path, dst: Path, options: Any, *, announce: Any, **_told: Any) -> fix.FixResult:
        assert options.method == "retime"
        announce("in.mp4: audio track 0 is re-encoded.")
        return fix.FixResult(None, None, 0.0, "", True, "out.mp4: done.")

    monkeypatch.setattr(fix, "fix_offset", repair)
    done = run("fix-offset", "in.mp4", "out.mp4", "--method", "retime")
    assert (done.stdout, done.stderr) == ("out.mp4: done.\n", "in.mp4: audio track 0 is re-encoded.\n")
    document = json.loads(run("fix-offset", "in.mp4", "out.mp4", "--method", "retime", "--json").stdout)
    assert document["method"] == "retime"


def test_fix_that_cannot_tell_exits_3(monkeypatch: pytest.MonkeyPatch):
    def repair(*_arguments: object, **_options: object) -> None:
        raise CannotTell("in.mp4: no face was found; nothing is written.")

    monkeypatch.setattr(fix, "fix_offset", repair)
    done = run("fix-offset", "in.mp4", "out.mp4")
    assert (done.exit_code, done.stderr) == (3, "avsync: in.mp4: no face was found; nothing is written.\n")


@pytest.mark.slow
def test_the_demo_command_finds_and_mends_its_own_error(tmp_path: Path):
    if DEFAULT_MODEL not in available():
        pytest.skip(f"the model {DEFAULT_MODEL} is not here")
    done = run("demo", "--out", tmp_path / "demo")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["clip.mp4", "fixed.mp4"]
