"""The command line on real media: what it prints where, and its exit codes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command import run
from media_factory import ffmpeg
from talk_factory import EARLY_MS, Talk
from typer.testing import Result

from avsync import __version__
from avsync.cli.console import outcome

ROOT = Path(__file__).parents[2]


def command(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """The command as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "avsync", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture(scope="module")
def media(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made face whose audio is early, one in sync, a video without a face, and no video."""
    folder = tmp_path_factory.mktemp("media")
    shutil.copy(talk(EARLY_MS), folder / "early.mp4")
    shutil.copy(talk(duration_s=8), folder / "sync.mp4")
    pattern = ("-f", "lavfi", "-i", "testsrc=size=128x96:rate=25:duration=1")
    tone = ("-f", "lavfi", "-i", "sine=duration=1")
    ffmpeg(*pattern, *tone, "-c:a", "aac", folder / "noface.mp4")
    (folder / "bad.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def bad(media: Path) -> Path:
    return media / "bad.mp4"


# --- exit codes and streams ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"), [("sync", 0), ("early", 1), ("noface", 3), ("bad", 4), ("none", 4)]
)
def test_one_file_ends_in_the_exit_code_of_its_verdict(name: str, code: int, media: Path):
    assert run("check", media / f"{name}.mp4").exit_code == code


def test_a_missing_model_is_4_and_a_missing_track_is_2(early: Path):
    assert run("check", early, "--model", "none").exit_code == 4
    assert run("check", early, "--audio-track", "7").exit_code == 2


def raises(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("division by zero"), EOFError("Ran out of input"), BrokenPipeError(32, "Broken pipe")],
)
def test_no_accident_reads_as_out_of_sync(error: Exception, capsys: pytest.CaptureFixture[str]):
    assert outcome(raises(error)) == 4
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert "Traceback" not in printed.err


def test_the_traceback_is_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    outcome(raises(ZeroDivisionError("division by zero")))
    assert "AVSYNC_DEBUG" in capsys.readouterr().err
    monkeypatch.setenv("AVSYNC_DEBUG", "1")
    outcome(raises(ZeroDivisionError("division by zero")))
    assert "ZeroDivisionError" in capsys.readouterr().err.splitlines()[-2]


def test_ctrl_c_exits_130():
    assert outcome(raises(KeyboardInterrupt())) == 130


def test_an_error_is_one_sentence_on_stderr_and_nothing_on_stdout(bad: Path):
    done = run("check", bad)
    assert done.stderr.startswith(f"avsync: {bad} is not a video")
    assert (done.stderr.count("\n"), done.stdout) == (1, "")


def test_a_verdict_is_on_stdout_and_nothing_on_stderr(early: Path):
    done = run("check", early)
    assert done.stdout.startswith(f"{early}: OUT OF SYNC - audio is ")
    assert "ms early; delaying it by" in done.stdout
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["chek", "x"],
        ["check", "x.mp4", "--max-offset-ms", "many"],
        ["check", "x.mp4", "--max-offset-ms", "-5"],
        ["check", "x.mp4", "--max-offset-ms", "nan"],
        ["check", "x.mp4", "--max-drift", "-1"],
        ["check", "x.mp4", "--standard", "smpte"],
        ["check", "x.mp4", "--workers", "0"],
        ["check", "x.mp4", "--json", "--jsonl", "-"],
        ["check", "x.mp4", "--audio", "y.wav", "--audio-track", "1"],
        ["check", "x.mp4", "y.mp4", "--plot", "one.png"],
        ["check", "x.mp4", "--plot", "one.jpg"],
        ["check", "x.mp4", "--resume"],
        ["check", "x.mp4", "--resume", "--jsonl", "-"],
        ["check", "x.mp4", "--engine", "slurm"],
        ["fix-offset", "x.mp4"],
        ["fix-offset", "x.mp4", "y.mp4", "--method", "move"],
        ["fix-offset", "x.mp4", "y.mp4", "--offset-ms", "inf"],
        ["models", "fetch", "unknown"],
    ],
)
def test_wrong_usage_exits_2_with_sentences(arguments: Sequence[str]):
    done = run(*arguments)
    assert done.exit_code == 2
    assert not done.stderr or re.search(r"[^.?!][.?]$", done.stderr.strip())


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("check", "--max-offset-ms", "5"),
        ("check", "--max-offset-ms", "nan"),
        ("check", "--max-drift", "-1"),
        ("check", "--standard", "smpte"),
        ("check", "--face-detector", "eyes"),
        ("check", "--sample", "some"),
        ("check", "--stride", "0"),
        ("check", "--engine", "slurm"),
        ("fix-offset", "--method", "move"),
        ("fix-offset", "--offset-ms", "inf"),
        ("fix-offset", "--offset-ms", "4e6"),
        ("fix-offset", "--audio-track", "-1"),
    ],
)
def test_an_error_names_the_option_as_it_was_typed(command: str, option: str, value: str):
    done = run(command, "x.mp4", *(["y.mp4"] if command == "fix-offset" else []), f"{option}={value}")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"avsync: {option} cannot be ")
    assert "_" not in done.stderr


def test_an_empty_name_is_not_this_folder(media: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(media)
    done = run("check", "")
    assert done.exit_code == 2
    assert "empty" in done.stderr


def test_version():
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"avsync {__version__}\n")


@pytest.mark.parametrize("name", ["check", "fix-offset", "demo", "models", "distill", "train", "bench"])
def test_every_command_has_help(name: str):
    done = run(name, "--help")
    assert done.exit_code == 0
    assert name in done.stdout


# --- JSON ---------------------------------------------------------------------------------


def test_json_of_one_file_is_a_document(early: Path):
    document = json.loads(run("check", early, "--json").stdout)
    assert (document["schema"], document["verdict"]) == (1, "out-of-sync")
    assert document["offset_ms"] == pytest.approx(120, abs=40)


def test_json_of_a_failed_file_is_still_a_document(bad: Path):
    done = run("check", bad, "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["verdict"]) == (4, "error")
    assert "bad.mp4 is not a video" in document["reasons"][0]["text"]


# --- several files ------------------------------------------------------------------------


class Batch(NamedTuple):
    """A folder of files that was checked, and where its results are."""

    done: Result
    folder: Path
    results: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.results / "out.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def batch(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """`check FOLDER` with every kind of result."""
    results = tmp_path_factory.mktemp("results")
    targets = {"--jsonl": "out.jsonl", "--junit": "out.xml", "--report": "page.html", "--plot": "plots"}
    wanted = [word for option, name in targets.items() for word in (option, results / name)]
    return Batch(run("check", media, "--json", *wanted), media, results)


VERDICTS = {
    "bad.mp4": "error",
    "early.mp4": "out-of-sync",
    "noface.mp4": "cannot-tell",
    "sync.mp4": "in-sync",
}


def test_a_folder_is_a_list_in_order_with_the_errors_in_it_and_the_highest_code(batch: Batch):
    documents = json.loads(batch.done.stdout)
    assert {Path(d["path"]).name: d["verdict"] for d in documents} == VERDICTS
    assert [Path(d["path"]).name for d in documents] == sorted(VERDICTS)
    assert batch.done.exit_code == 4


def test_jsonl_has_a_line_for_each_file(batch: Batch):
    assert {Path(line["path"]).name: line["verdict"] for line in batch.lines()} == VERDICTS


def test_junit_has_a_case_for_each_file(batch: Batch):
    assert (batch.results / "out.xml").read_text().count("<testcase") == 4


def test_a_page_has_a_row_for_each_file(batch: Batch):
    page = (batch.results / "page.html").read_text()
    assert "4 videos" in page
    assert "bad.mp4 is not a video" in page


def test_a_folder_of_plots_has_one_for_each_file_that_was_checked(batch: Batch):
    names = sorted(path.name for path in (batch.results / "plots").iterdir())
    assert names == ["early.mp4.png", "noface.mp4.png", "sync.mp4.png"]


@pytest.mark.slow
def test_a_resumed_run_does_only_what_is_left_and_reports_all(batch: Batch, tmp_path: Path):
    folder = shutil.copytree(batch.folder, tmp_path / "media")
    out, junit = tmp_path / "out.jsonl", tmp_path / "out.xml"
    run("check", folder / "bad.mp4", folder / "noface.mp4", "--jsonl", out)
    done = run("check", *sorted(folder.iterdir()), "--jsonl", out, "--resume", "--junit", junit)
    assert done.exit_code == 4
    # The file that failed is done again.
    assert done.stderr == "1 of 4 files are done already.\n"
    assert done.stdout.splitlines()[-2] == "4 files: 1 in sync, 1 out of sync, 1 cannot tell, 1 error."
    verdicts = {Path(json.loads(line)["path"]).name: json.loads(line)["verdict"] for line in out.open()}
    assert verdicts == VERDICTS
    assert junit.read_text().count("<testcase") == 4
    done = run("check", folder / "early.mp4", "--jsonl", out, "--resume")
    assert (done.exit_code, done.stderr) == (1, "1 of 1 files are done already.\n")


@pytest.mark.slow
def test_a_list_is_a_batch_even_of_one(bad: Path, tmp_path: Path):
    shutil.copy(bad, tmp_path)
    (tmp_path / "list.csv").write_text("path,title\nbad.mp4,x\n")
    done = run("check", tmp_path / "list.csv", "--jsonl", "-")
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == ["error"]


@pytest.mark.slow
def test_after_ctrl_c_what_was_done_is_there(media: Path, tmp_path: Path):
    files = [shutil.copy(media / "sync.mp4", tmp_path / f"{number}.mp4") for number in range(8)]
    out, junit, page = tmp_path / "out.jsonl", tmp_path / "out.xml", tmp_path / "page.html"
    started = command(
        *("check", *files, "--json", "--jsonl", out, "--junit", junit, "--report", page),
        # As at a terminal: Ctrl-C is heard, and reaches the whole group.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        start_new_session=True,
    )
    while started.poll() is None and not (out.exists() and out.read_text()):
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGINT)
    printed, said = started.communicate(timeout=300)
    assert (started.returncode, said) == (130, "avsync: Stopped.\n")
    verdicts = [json.loads(line)["verdict"] for line in out.read_text().splitlines()]
    assert 1 <= len(verdicts) < len(files)
    assert set(verdicts) == {"in-sync"}
    assert [d["verdict"] for d in json.loads(printed)] == verdicts
    assert junit.read_text().count("<testcase") == len(verdicts)
    assert "In sync" in page.read_text()


def test_ray_that_is_missing_is_one_sentence(bad: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("check", bad, "--engine", "ray")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'avsync[ray]'" in done.stderr


# --- where results go ---------------------------------------------------------------------

RESULTS = {"--jsonl": "x.jsonl", "--junit": "x.xml", "--report": "x.html", "--plot": "x.png"}


@pytest.mark.parametrize("option", RESULTS)
def test_the_folder_of_a_result_is_made(option: str, early: Path, tmp_path: Path):
    target = tmp_path / "new" / "folder" / RESULTS[option]
    assert run("check", early, option, target).exit_code == 1
    assert target.stat().st_size


@pytest.mark.parametrize("option", RESULTS)
def test_a_result_that_cannot_be_written_is_refused_before_the_work(option: str, bad: Path, tmp_path: Path):
    (tmp_path / "notes.txt").touch()
    places = [tmp_path / "notes.txt"]
    if Path("/proc/self").exists():  # takes no new files from anybody, root included
        places += [Path("/proc"), Path("/proc/new")]
    for place in places:
        done = run("check", bad, option, place / RESULTS[option])
        assert done.exit_code == 4
        assert str(place) in done.stderr and "bad.mp4" not in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--jsonl", "--junit", "--report"])
def test_a_result_cannot_be_written_to_a_folder(option: str, bad: Path, tmp_path: Path):
    done = run("check", bad, option, tmp_path)
    assert done.exit_code == 2
    assert option in done.stderr


@pytest.mark.parametrize("option", ["--junit", "--report", "--plot"])
def test_only_json_goes_to_stdout(option: str, bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    done = run("check", bad, option, "-")
    assert done.exit_code == 2
    assert "stdout" in done.stderr
    assert not Path("-").exists()


@pytest.mark.parametrize("option", ["--jsonl", "--junit"])
def test_a_pipe_is_written_into_and_stays(option: str, bad: Path, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("check", bad, option, pipe).exit_code == 4
        assert b"bad.mp4" in os.read(end, 1 << 16)
    finally:
        os.close(end)
    assert pipe.is_fifo()


def test_two_results_do_not_share_a_file(bad: Path, tmp_path: Path):
    done = run("check", bad, "--jsonl", tmp_path / "x", "--junit", tmp_path / "x")
    assert done.exit_code == 2
    assert not (tmp_path / "x").exists()


def test_a_link_to_a_result_stays_a_link(bad: Path, tmp_path: Path):
    (tmp_path / "link.xml").symlink_to(tmp_path / "real.xml")
    run("check", bad, "--junit", tmp_path / "link.xml")
    assert (tmp_path / "link.xml").is_symlink()
    assert "testcase" in (tmp_path / "real.xml").read_text()


@pytest.mark.parametrize("option", RESULTS)
def test_a_result_is_not_written_over_another_kind_of_file(option: str, bad: Path, tmp_path: Path):
    other = tmp_path / RESULTS[option]
    other.write_bytes(b"\0\0\0\x20ftypisom")
    assert run("check", bad, option, other).exit_code == 2
    assert other.read_bytes() == b"\0\0\0\x20ftypisom"


def test_a_page_of_one_file_is_an_html_file(early: Path, bad: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    assert run("check", bad, "--report", tmp_path / "page.pdf").exit_code == 2
    assert run("check", bad, "--report", page).exit_code == 4
    assert "bad.mp4 is not a video" in page.read_text()
    assert run("check", early, "--report", page).exit_code == 1
    assert "Out of sync" in page.read_text()


@pytest.mark.parametrize(
    "arguments", [["check", "a.mp4", "b.mp4", "--jsonl", "x.jsonl"], ["demo", "--out", "d"]]
)
def test_a_missing_model_is_reported_once_and_before_anything_is_written(
    arguments: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments, "--model", "wrong")
    assert done.exit_code == 4
    assert "wrong" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# --- help ---------------------------------------------------------------------------------


COMMANDS = ["check", "fix-offset", "demo", "distill", "train", "bench"]
COMMANDS += [f"models {name}" for name in ("list", "info", "fetch", "convert")]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_examples(name: str):
    shown = run(*name.split(), "--help").stdout
    assert f"avsync {name}" in shown.split("Examples")[1]


# --- the real command ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_early_is_not_an_error(tmp_path: Path):
    (tmp_path / "x.mp4").write_text("no video")
    started = command("check", tmp_path / "x.mp4", tmp_path / "x.mp4", "--json")
    assert started.stdout is not None
    started.stdout.close()
    _, said = started.communicate(timeout=300)
    assert said == ""
    assert started.returncode == 4


def test_closing_the_pipe_during_help_is_not_an_error():
    started = command("check", "--help")
    assert started.stdout is not None
    started.stdout.close()
    _, said = started.communicate(timeout=300)
    assert (started.returncode, said) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["check", "--help"], ["models", "list"]])
def test_output_that_does_not_fit_is_one_sentence(arguments: Sequence[str]):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "avsync", *arguments],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr == b"avsync: No space left on device.\n"


def test_an_error_never_lands_on_stdout_even_without_stderr():
    started = command("check", "none.mp4", preexec_fn=lambda: os.close(2))
    said, _ = started.communicate(timeout=300)
    assert (started.returncode, said) == (4, "")


def test_a_terminal_that_lacks_a_letter_shows_it_escaped(tmp_path: Path):
    name = tmp_path / "fil\u0142m.mp4"
    name.write_text("no video")
    started = command("check", name, env=os.environ | {"PYTHONIOENCODING": "latin-1"})
    _, said = started.communicate(timeout=300)
    assert started.returncode == 4
    assert "fil\\u0142m.mp4" in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_real_command_quietly(number: signal.Signals, code: int):
    started = command(
        *("check", "-"),
        stdin=subprocess.PIPE,
        # A shell's background job ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert started.stdin is not None
    started.stdin.write(" " * (1 << 20))  # more than a pipe holds: once it is gone, the command reads
    started.send_signal(number)
    # `communicate` would end the input first, and what had come might be judged before the signal.
    started.wait(timeout=300)
    _, said = started.communicate()
    assert started.returncode == code
    assert "Traceback" not in said


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_file_leaves_what_was_judged(early_clip: Path, tmp_path: Path):
    program = """
import sys, time
from avsync import cli
from avsync.networks import compiled as scores
from avsync.pipeline import stretch as survey

done = 0
score_clip = scores.score_clip

def slowly(*arguments):
    global done
    done += 1
    if done == 4:
        print("working", file=sys.stderr, flush=True)
        time.sleep(300)
    return score_clip(*arguments)

survey.PIECE_FRAMES, scores.score_clip = 29, slowly
cli.main()
"""
    page, out = tmp_path / "page.html", tmp_path / "out.jsonl"
    arguments = ("check", early_clip, "--stride", "2", "--jsonl", out)
    started = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, (*arguments, "--json", "--report", page))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As at a terminal: Ctrl-C is heard, and reaches the whole group, ffmpeg too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        start_new_session=True,
    )
    assert started.stderr is not None
    assert started.stderr.readline() == "working\n"
    os.killpg(started.pid, signal.SIGINT)
    printed, said = started.communicate(timeout=300)
    assert (started.returncode, said) == (130, "avsync: Stopped.\n")
    report = json.loads(printed)
    assert report["complete"] is False
    ((start, end),) = report["looked_at_s"]
    assert (start, end) == (0, pytest.approx(3 * 1.0 + 0.16, abs=0.3))
    assert report["tracks"][0]["windows"] > 20
    assert report["unjudged"][-1]["end_s"] == pytest.approx(report["duration_s"], abs=0.01)
    assert report["reasons"][-1]["code"] == "stopped"
    assert "the check was stopped before reaching it" in page.read_text()
    assert json.loads(out.read_text())["complete"] is False
    assert run(*arguments, "--resume").exit_code == 1
    assert [json.loads(line)["complete"] for line in out.open()] == [True], "what was stopped is done again"


@pytest.fixture(scope="session")
def early_clip(talk: Talk) -> Path:
    return talk(EARLY_MS, duration_s=8)


@pytest.mark.slow
def test_the_demo_clip_is_measured_plotted_and_repaired(early_clip: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    done = run("check", early_clip, "--json", "--plot", tmp_path / "plot.png", "--report", page)
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert report["offset_ms"] == pytest.approx(120, abs=20)
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    assert "data:image/jpeg" in page.read_text()
    assert "data:image/png" in page.read_text()
    target = tmp_path / "fixed.mp4"
    done = run("fix-offset", early_clip, target, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["after"]["verdict"] == "in-sync"
    assert target.is_file()
