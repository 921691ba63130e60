"""Many files: which are found, and that none of them stops the rest."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from avsync.batch import inputs, one, run
from avsync.core.errors import MediaError, UsageError
from avsync.core.options import CheckOptions
from avsync.core.records import Report
from avsync.pipeline import run as pipeline

OPTIONS = CheckOptions()


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


# --- finding ------------------------------------------------------------------------------


def test_folders_are_searched_in_depth_for_videos_in_order(tmp_path: Path):
    touch(tmp_path, "b.mp4", "a/z.MKV", "a/notes.txt", "a/.hidden.mp4", ".cache/x.mp4", "c.webm", "a/k.mpg")
    found = [str(path.relative_to(tmp_path)) for path in inputs.find_media([tmp_path])]
    assert found == ["a/k.mpg", "a/z.MKV", "b.mp4", "c.webm"]


def test_a_file_named_outright_counts_whatever_its_suffix_and_only_once(tmp_path: Path):
    (odd, video) = touch(tmp_path, "talk.bin", "x.mp4")
    assert inputs.find_media([odd, video, tmp_path]) == [odd, video]


def test_a_folder_without_videos_is_an_error_alone_and_a_row_beside_others(tmp_path: Path):
    (video,) = touch(tmp_path, "x.mp4")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MediaError, match="No video file was found"):
        inputs.find_media([empty])
    assert inputs.find_media([video, empty]) == [video, empty]
    report = one.check_safely(empty, OPTIONS)
    assert report.verdict == "error"
    assert "No video file" in report.reasons[0]


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (video, _) = touch(tmp_path, "x.mp4", "locked/y.mp4")
    locked, scandir = tmp_path / "locked", os.scandir

    def refused(path: Path | str) -> Any:
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert inputs.find_media([tmp_path]) == [locked, video]
    said = f"The folder {locked} cannot be searched: Permission denied."
    assert one.check_safely(locked, OPTIONS).reasons == (said,)
    with pytest.raises(MediaError, match="cannot be searched: Permission denied"):
        inputs.find_media([locked])


def test_links_in_a_circle_end(tmp_path: Path):
    touch(tmp_path, "a/x.mp4")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(inputs.find_media([tmp_path])) == 1


# --- one process --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MediaError("x.mp4 is broken."), "x.mp4 is broken."),
        (UsageError("There is no audio track 7."), "There is no audio track 7."),
        (MemoryError(), "not enough memory"),
        (OSError(28, "No space left on device", "x.png"), "No space left on device: x.png"),
        (ZeroDivisionError("division by zero"), "bug in avsync (ZeroDivisionError"),
    ],
)
def test_a_bad_file_becomes_a_sentence_and_the_rest_go_on(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
):
    def measure(path: Path, *_rest: object) -> Report:
        if path.name == "x.mp4":
            raise error
        return Report(str(path), "in-sync", 0.0)

    monkeypatch.setattr(pipeline, "measure", measure)
    reports = dict(run.check_many([Path("x.mp4"), Path("y.mp4")], OPTIONS))
    assert [reports[i].verdict for i in range(2)] == ["error", "in-sync"]
    assert words in reports[0].reasons[0]
    assert "\n" not in reports[0].reasons[0]


def test_ctrl_c_is_no_bad_file(monkeypatch: pytest.MonkeyPatch):
    def measure(*_: object) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        list(run.check_many([Path("x.mp4")], OPTIONS))


# --- several processes --------------------------------------------------------------------


@pytest.fixture
def real_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a module on the children's path that replaces `measure`: spawned processes share no patches.
    a.mp4 takes until another process is done with a file."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        """
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any
if os.environ.get("AVSYNC_TEST_FAKE"):
    from avsync.batch import one
    from avsync.pipeline import run as pipeline
    from avsync.core.errors import MediaError
    from avsync.core.records import Report

    def measure(path, options, progress=None):
        if "die" in path.name:
            os._exit(9)
        if "bad" in path.name:
            raise MediaError(f"{path} is bad.")
        if progress:
            progress("faces", 0.5, 1)
        done = Path(__file__).parent / "done"
        limit = time.monotonic() + 60
        while path.name == "a.mp4" and not done.exists() and time.monotonic() < limit:
            time.sleep(0.01)
        done.touch()
        return Report(str(path), "in-sync", 1.0, model=str(os.getpid()))

    pipeline.measure = measure
    one.limit_threads = lambda threads: None
"""
    )
    root = str(Path(run.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), root]))
    monkeypatch.setenv("AVSYNC_TEST_FAKE", "1")
    return site


def test_two_processes_share_the_files_and_outlive_a_crash(real_processes: Path):
    names = ["a.mp4", "bad.mp4", "die.mp4", "b.mp4", "c.mp4", "d.mp4"]
    steps: list[tuple[int, str]] = []
    files = [Path(name) for name in names]

    def show(number: int, stage: str, *_rest: float | None) -> None:
        steps.append((number, stage))

    reports = dict(run.check_many(files, OPTIONS, workers=2, show=show))
    assert sorted(reports) == list(range(6))
    assert [reports[i].path for i in range(6)] == names
    verdicts = [reports[i].verdict for i in range(6)]
    assert verdicts == ["in-sync", "error", "error", "in-sync", "in-sync", "in-sync"]
    assert "bad.mp4 is bad" in reports[1].reasons[0]
    assert "died" in reports[2].reasons[0]
    assert len({reports[i].model for i in (0, 3, 4, 5)}) >= 2
    assert "faces" in {stage for _, stage in steps}


def test_leaving_early_ends_the_processes(real_processes: Path):
    files = [Path(f"{i}.mp4") for i in range(50)]
    results = run.check_many(files, OPTIONS, workers=2)
    next(results)
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]
