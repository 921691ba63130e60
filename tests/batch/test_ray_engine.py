"""A batch on Ray: the same results as without it, and a crash costs one file. Ray is an extra of the package
(`pip install 'avsync[ray]'`) and no part of the development set-up, so most of this skips without it."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from avsync.batch.run import check_many
from avsync.core.constants import DEFAULT_MODEL
from avsync.core.errors import UsageError
from avsync.core.options import CheckOptions
from avsync.core.records import Report
from avsync.demo.clip import write_demo
from avsync.networks.checkpoint import available
from avsync.report.document import to_dict

OPTIONS = CheckOptions()


def test_without_ray_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'avsync\[ray\]'"):
        list(check_many([Path("x.mp4")], OPTIONS, engine="ray"))


def documents(reports: dict[int, Report]) -> list[dict[str, Any]]:
    return [to_dict(reports[number]) | {"timings_s": None} for number in sorted(reports)]


@pytest.fixture
def ray() -> Any:
    if DEFAULT_MODEL not in available():
        pytest.skip(f"the model {DEFAULT_MODEL} is not here")
    return pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")


def test_two_workers_give_what_one_process_gives(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    early = write_demo(tmp_path / "early.mp4", offset_ms=120, duration_s=4)
    late = write_demo(tmp_path / "late.mp4", offset_ms=-200, seed=1, duration_s=4)
    (tmp_path / "bad.mp4").write_text("no video")
    # Relative paths as a user types them: they must mean the same on the cluster.
    files = [Path(early.name), Path("bad.mp4"), Path(late.name), Path("none.mp4")]
    plain = dict(check_many(files, OPTIONS))
    assert [plain[number].verdict for number in (1, 3)] == ["error", "error"]
    assert documents(dict(check_many(files, OPTIONS, workers=2, engine="ray"))) == documents(plain)
    assert not ray.is_initialized()


def test_a_process_that_dies_costs_only_its_file(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sitecustomize.py").write_text(
        """
import os
if os.environ.get("AVSYNC_TEST_FAKE"):
    from avsync.batch import ray_engine as batch
    from avsync.core.records import Report

    def check_safely(file, options, progress=None):
        if "die" in file.name:
            os._exit(9)
        return Report(str(file), "in-sync", 1.0)

    batch.check_safely = check_safely
    batch.limit_threads = lambda threads: None
"""
    )
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("AVSYNC_TEST_FAKE", "1")
    files = [Path(name) for name in ("a.mp4", "die.mp4", "b.mp4")]
    reports = dict(check_many(files, OPTIONS, workers=2, engine="ray"))
    assert [reports[number].verdict for number in range(3)] == ["in-sync", "error", "in-sync"]
    assert "die.mp4 was not checked" in reports[1].reasons[0]
