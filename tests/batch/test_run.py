"""Many files: which are found, and that none of them stops the rest."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killing import of_session
from media_factory import ffmpeg

from avsync.batch import inputs, one, run
from avsync.core.errors import MediaError, UsageError
from avsync.core.options import CheckOptions, Limits
from avsync.core.report import Reason

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
    assert "No video file" in report.reasons[0].values["message"]


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
    assert one.check_safely(locked, OPTIONS).reasons == (Reason("error", {"message": said}),)
    with pytest.raises(MediaError, match="cannot be searched: Permission denied"):
        inputs.find_media([locked])


def test_links_in_a_circle_end(tmp_path: Path):
    touch(tmp_path, "a/x.mp4")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(inputs.find_media([tmp_path])) == 1


# --- one file -----------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[..., None]:
    """A progress callback that fails: what it raises, the check raises in the middle of its work."""

    def show(*_: object) -> None:
        raise error

    return show


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
def test_an_error_becomes_a_report_with_one_sentence(error: Exception, words: str, early: Path):
    report = one.check_safely(early, OPTIONS, raising(error))
    assert report.verdict == "error"
    assert words in report.reasons[0].values["message"]
    assert "\n" not in report.reasons[0].values["message"]


def test_ctrl_c_does_not_count_as_a_bad_file(early: Path):
    with pytest.raises(KeyboardInterrupt):
        one.check_safely(early, OPTIONS, raising(KeyboardInterrupt()))


# --- processes ----------------------------------------------------------------------------


def processes() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid]


@pytest.mark.slow
def test_two_processes_share_the_files_and_a_bad_one_does_not_stop_the_rest(early: Path, tmp_path: Path):
    bad, none = tmp_path / "bad.mp4", tmp_path / "none.mp4"
    bad.write_text("no video")
    stages: set[tuple[int, str, bool]] = set()
    files = [early, bad, none, early]

    def show(number: int, stage: str, done: float, total: float | None) -> None:
        stages.add((number, stage, done == total))

    reports = dict(run.check_many(files, OPTIONS, workers=2, show=show))
    assert [reports[n].verdict for n in range(4)] == ["out-of-sync", "error", "error", "out-of-sync"]
    assert [reports[n].path for n in range(4)] == [str(file) for file in files]
    assert reports[0].offset_ms == reports[3].offset_ms == pytest.approx(120, abs=40)
    assert {(0, "faces", True), (3, "faces", True)} <= stages  # the end of a stage is told, however soon
    assert not processes()


@pytest.mark.slow
def test_a_process_that_is_killed_costs_its_file_alone(early: Path):
    """What the kernel does where memory runs out."""
    killed: list[int] = []

    def show(number: int, *_: object) -> None:
        if number == 1 and not killed:
            killed.extend(processes())
            os.kill(killed[0], signal.SIGKILL)

    reports = dict(run.check_many([early, early, early], OPTIONS, show=show))
    assert [reports[n].verdict for n in range(3)] == ["out-of-sync", "error", "out-of-sync"]
    assert "died (exit code -9): perhaps it ran out of memory" in reports[1].reasons[0].values["message"]


def stop_soon(stopped: list[int]) -> None:
    """Stop the first process of a batch as soon as there is one."""
    while not stopped:
        for pid in processes():
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)


@pytest.fixture
def film(early: Path, tmp_path: Path) -> Path:
    """Seven minutes that no machine checks within a second."""
    path = tmp_path / "film.mp4"
    ffmpeg("-stream_loop", 100, "-i", early, "-c", "copy", path)
    return path


@pytest.mark.slow
def test_a_file_that_makes_progress_for_ever_is_given_up_all_the_same(film: Path):
    assert Limits().total_seconds < 24 * 3600
    (_, report), *_ = run.check_many([film], OPTIONS, limits=Limits(most_seconds=0.3))
    assert "was not judged within 0.3 s" in report.reasons[0].values["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(), "was stopped, by a signal or a debugger"),
        (Limits(seconds=4), "was not judged within 4 s"),
        (Limits(silence_seconds=4), "was given up after 4 s without progress"),
    ],
)
def test_a_process_that_is_stopped_costs_its_file_alone(early: Path, limits: Limits, words: str):
    stopped: list[int] = []

    def show(number: int, stage: str, *_: object) -> None:
        if number == 0 and not stopped:
            stop_soon(stopped)

    bad = early.with_name("none.mp4")
    reports = dict(run.check_many([early, bad], OPTIONS, limits=limits, show=show))
    assert words in reports[0].reasons[0].values["message"]
    assert "does not exist" in reports[1].reasons[0].values["message"]
    assert not processes()


@pytest.mark.slow
def test_a_process_that_is_stopped_before_it_is_ready_costs_its_file_alone(early: Path):
    stopped: list[int] = []
    threading.Thread(target=stop_soon, args=(stopped,), daemon=True).start()
    reports = dict(run.check_many([early, early], OPTIONS, limits=Limits(seconds=60)))
    assert "was stopped" in reports[0].reasons[0].values["message"]
    assert reports[1].verdict == "out-of-sync"


@pytest.mark.slow
def test_time_in_which_the_batch_itself_is_stopped_counts_for_nothing(early: Path, tmp_path: Path):
    """Ctrl-Z stops the group of a terminal, and fg lets it go on."""
    ledger = tmp_path / "out.jsonl"
    call = ["check", str(early), str(early), "--jsonl", str(ledger), "--file-timeout", "25", "--quiet"]
    with subprocess.Popen([sys.executable, "-m", "avsync", *call], start_new_session=True) as command:
        time.sleep(4)
        os.killpg(command.pid, signal.SIGSTOP)
        time.sleep(27)
        os.killpg(command.pid, signal.SIGCONT)
    assert command.returncode == 1
    assert json.loads(ledger.read_text())["verdict"] == "out-of-sync"


@pytest.mark.slow
def test_a_file_that_takes_too_long_is_an_error_and_the_rest_go_on(film: Path, tmp_path: Path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    reports = dict(run.check_many([film, bad], OPTIONS, limits=Limits(seconds=0.3)))
    assert (
        f"{film} was not judged within 0.3 s; allow it more with --file-timeout"
        in reports[0].reasons[0].values["message"]
    )
    assert "bad.mp4" in reports[1].reasons[0].values["message"]
    assert not processes()


@pytest.mark.slow
def test_a_file_that_takes_too_much_memory_is_an_error_and_not_a_bug(early: Path):
    (_, report), *_ = run.check_many([early], OPTIONS, limits=Limits(memory_bytes=100_000_000))
    assert report.verdict == "error"
    assert "memory" in report.reasons[0].values["message"]
    assert "bug" not in report.reasons[0].values["message"]


@pytest.mark.slow
def test_leaving_early_ends_the_processes(early: Path):
    results = run.check_many([early] * 50, OPTIONS, workers=2)
    next(results)
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not processes()


@pytest.mark.slow
def test_the_processes_die_with_the_command_and_say_nothing(early: Path, tmp_path: Path):
    for number in range(20):
        (tmp_path / f"{number}.mp4").symlink_to(early)
    ledger = tmp_path / "out.jsonl"
    program = [
        sys.executable,
        "-m",
        "avsync",
        "check",
        str(tmp_path),
        "--workers",
        "2",
        "--jsonl",
        str(ledger),
    ]
    with (tmp_path / "stderr").open("w+b") as stderr:
        command = subprocess.Popen(program, stderr=stderr, stdout=subprocess.DEVNULL, start_new_session=True)
        session = command.pid
        while not ledger.exists() or not ledger.stat().st_size:
            assert command.poll() is None
            time.sleep(0.1)
        command.kill()
        command.wait()
        limit = time.monotonic() + 10
        while (left := of_session(session)) and time.monotonic() < limit:
            time.sleep(0.1)
        assert not left
        stderr.seek(0)
        assert stderr.read() == b""
    assert all(json.loads(line)["verdict"] == "out-of-sync" for line in ledger.read_text().splitlines())
