"""The demo says what it does, and agrees only when the known error is found and then gone. Measuring and
fixing are faked here; test_cli_fix runs the real command."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from avsync.core.errors import MediaError, ModelError
from avsync.core.options import CheckOptions, FixOptions
from avsync.core.report import Report
from avsync.demo import run as demo_run
from avsync.demo.run import DEMO_OFFSET_MS, DemoResult, run_demo
from avsync.repair.fix import FixResult

FOUND = Report("clip.mp4", "out-of-sync", DEMO_OFFSET_MS + 5, 8.0, 0.98)
MENDED = Report("fixed.mp4", "in-sync", 3.0, 8.0, 0.98)
MISSED = Report("clip.mp4", "out-of-sync", DEMO_OFFSET_MS + 25, 8.0, 0.98)
UNKNOWN = Report("clip.mp4", "cannot-tell")

said: list[str] = []
"""What the demo of the test at hand told."""


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Sequence[Report]], DemoResult]:
    """Runs the demo with these reports as what is measured, in turn."""

    def write(path: Path, *, offset_ms: float) -> None:
        path.write_text(f"{offset_ms:g} ms early")

    def repair(src: Path, dst: Path, options: FixOptions, **_told: object) -> FixResult:
        assert options.offset_ms == FOUND.offset_ms
        dst.write_text("mended")
        return FixResult(None, None, DEMO_OFFSET_MS, "", True, "Mended it.")

    def run(reports: Sequence[Report]) -> DemoResult:
        measured = iter(reports)
        monkeypatch.setattr(demo_run, "measure", lambda *_: next(measured))
        return run_demo(tmp_path / "demo", said.append, CheckOptions())

    said.clear()
    monkeypatch.setattr(demo_run, "prepared", lambda *_: None)
    monkeypatch.setattr(demo_run, "write_demo", write)
    monkeypatch.setattr(demo_run, "fix_offset", repair)
    return run


def test_an_error_that_is_found_and_mended_agrees(demo: Callable[[Sequence[Report]], DemoResult]):
    result = demo([FOUND, MENDED])
    assert (result.agrees, result.before, result.after) == (True, FOUND, MENDED)
    assert result.clip.read_text() == "120 ms early"
    assert result.fixed.read_text() == "mended"
    assert [sentence.split()[0] for sentence in said] == ["Wrote", "Checked", "Mended", "Checked"]


def test_an_error_that_is_left_does_not_agree(demo: Callable[[Sequence[Report]], DemoResult]):
    assert not demo([FOUND, FOUND]).agrees


@pytest.mark.parametrize("report", [MISSED, UNKNOWN])
def test_an_error_that_is_not_found_is_not_mended(
    report: Report, demo: Callable[[Sequence[Report]], DemoResult]
):
    result = demo([report])
    assert (result.agrees, result.after) == (False, None)
    assert not result.fixed.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(
    demo: Callable[[Sequence[Report]], DemoResult], tmp_path: Path
):
    (tmp_path / "demo").write_text("in the way")
    with pytest.raises(MediaError, match="cannot be made"):
        demo([])


def test_a_model_that_cannot_be_used_is_told_before_anything_is_written(tmp_path: Path):
    with pytest.raises(ModelError, match="nope"):
        run_demo(tmp_path / "demo", said.append, CheckOptions(model="nope"))
    assert not (tmp_path / "demo").exists()
