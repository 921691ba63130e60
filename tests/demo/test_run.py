"""The demo says what it does, and agrees only if the known error is found and then gone."""

from pathlib import Path

import pytest

from avsync.core.errors import MediaError, ModelError
from avsync.core.options import CheckOptions
from avsync.demo.run import DEMO_OFFSET_MS, run_demo


def test_an_error_that_is_found_and_repaired_agrees(tmp_path: Path):
    said: list[str] = []
    result = run_demo(tmp_path / "demo", said.append, CheckOptions(stride=2))
    assert result.agrees
    assert result.before.offset_ms == pytest.approx(DEMO_OFFSET_MS, abs=20)
    assert result.after is not None and result.after.verdict == "in-sync"
    assert result.clip.stat().st_size and result.fixed.stat().st_size
    assert [sentence.split()[0] for sentence in said] == ["Wrote", "Checked", f"{result.fixed}:", "Checked"]


@pytest.mark.slow
def test_an_error_that_is_not_found_is_not_repaired(tmp_path: Path):
    result = run_demo(tmp_path / "demo", lambda _: None, CheckOptions(max_offset_ms=80.0, stride=2))
    assert (result.agrees, result.after) == (False, None)
    assert not result.fixed.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "demo").write_text("in the way")
    with pytest.raises(MediaError, match="cannot be made"):
        run_demo(tmp_path / "demo", lambda _: None, CheckOptions())


def test_a_model_that_cannot_be_used_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(ModelError, match="nope"):
        run_demo(tmp_path / "demo", lambda _: None, CheckOptions(model="nope"))
    assert not (tmp_path / "demo").exists()
