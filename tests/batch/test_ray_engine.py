"""A batch on Ray: the same results as without it, and a crash costs one file. Ray is an extra of the package
(`pip install 'avsync[ray]'`) and no part of the development set-up, so most of this skips without it."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from talk_factory import EARLY_MS, Talk

from avsync.batch.run import check_many
from avsync.core.errors import UsageError
from avsync.core.options import CheckOptions, Limits
from avsync.core.report import Report
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
    return pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")


def test_two_workers_give_what_one_process_gives(
    ray: Any, talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    early, late = tmp_path / "early.mp4", tmp_path / "late.mp4"
    shutil.copy(talk(EARLY_MS), early)
    shutil.copy(talk(-200, seed=1), late)
    (tmp_path / "bad.mp4").write_text("no video")
    # Relative paths as a user types them: they must mean the same on the cluster.
    files = [Path(early.name), Path("bad.mp4"), Path(late.name), Path("none.mp4")]
    plain = dict(check_many(files, OPTIONS))
    assert [plain[number].verdict for number in (1, 3)] == ["error", "error"]
    assert documents(dict(check_many(files, OPTIONS, workers=2, engine="ray"))) == documents(plain)
    assert not ray.is_initialized()


def test_a_file_beyond_its_limits_costs_only_itself(ray: Any, early: Path, tmp_path: Path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    reports = dict(check_many([early, bad], OPTIONS, workers=1, engine="ray", limits=Limits(seconds=0.3)))
    assert [reports[number].verdict for number in range(2)] == ["error", "error"]
    assert "was not judged within 0.3 s" in reports[0].reasons[0].values["message"]
    assert "bad.mp4" in reports[1].reasons[0].values["message"]


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_a_cluster_that_is_started_here_is_reached_from_here_only(ray: Any, tmp_path: Path):
    """Ray runs whatever it is sent, whoever sends it."""
    (tmp_path / "bad.mp4").write_text("no video")
    results = check_many([tmp_path / "bad.mp4"] * 2, OPTIONS, workers=1, engine="ray")
    before = _listening()
    next(results)
    opened = _listening() - before
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert opened
    assert {address for address, _ in opened} <= LOOPBACK


def _listening() -> set[tuple[str, str]]:
    """(address, port), both in hexadecimal, of every listening TCP socket of this machine."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().split("\n")[1:-1]
    ]
    return {tuple(line[1].split(":")) for line in lines if line[3] == "0A"}  # pyright: ignore[reportReturnType]
