"""The command line: what it prints where, and its exit codes. Measuring is faked here; test_bad_input and the
last tests of this file run the real thing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import run
from report_factory import said

import avsync.api  # noqa: F401 - takes the real `measure`, before a test puts another in its place
from avsync import __version__
from avsync.batch import run as run_batch
from avsync.batch.one import check_safely
from avsync.core.constants import DEFAULT_MODEL
from avsync.core.errors import Interrupted, MediaError, ModelError, UsageError
from avsync.core.options import CheckOptions
from avsync.core.report import Report
from avsync.demo.clip import write_demo
from avsync.networks.library import available
from avsync.pipeline import run as pipeline

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


ANSWERS: dict[str, Any] = {
    "sync": Report("sync.mp4", "in-sync", 4.0, 8.0, 0.98),
    "late": Report("late.mp4", "out-of-sync", -120.0, 8.0, 0.97),
    "dub": Report("dub.mp4", "mismatch"),
    "noface": Report("noface.mp4", "cannot-tell", reasons=said("no face was found")),
    "bad": MediaError("bad.mp4 is no video."),
    "model": ModelError("There is no such model."),
    "usage": UsageError("There is no audio track 7."),
    "bug": ZeroDivisionError("division by zero"),
    "eof": EOFError("Ran out of input"),
    "pipe": BrokenPipeError(32, "Broken pipe"),
    "stop": KeyboardInterrupt(),
}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Files whose stem picks what `measure` answers; gives the path of one."""

    def measure(path: Path, options: CheckOptions, progress: object = None, loaded: object = None) -> Report:
        answer = ANSWERS[path.stem]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    real = run_batch.check_many

    def check_many(
        files: list[Path], options: CheckOptions, engine: str = "local", **more: Any
    ) -> Iterator[tuple[int, Report]]:
        if engine != "local":
            return real(files, options, engine=engine, **more)
        # Processes share no patches; tests/batch has batches as they are.
        return ((number, check_safely(file, options)) for number, file in enumerate(files))

    monkeypatch.setattr(pipeline, "measure", measure)
    monkeypatch.setattr(run_batch, "check_many", check_many)

    def file(stem: str) -> Path:
        path = tmp_path / f"{stem}.mp4"
        path.touch()
        return path

    return file


# --- exit codes and streams ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "code"),
    [("sync", 0), ("late", 1), ("dub", 1), ("noface", 3), ("bad", 4), ("model", 4), ("usage", 2)],
)
def test_one_file_ends_in_the_exit_code_of_its_verdict(stem: str, code: int, answers: Callable[[str], Path]):
    assert run("check", answers(stem)).exit_code == code


@pytest.mark.parametrize("stem", ["bug", "eof", "pipe"])
def test_no_accident_reads_as_out_of_sync(stem: str, answers: Callable[[str], Path]):
    done = run("check", answers(stem))
    assert done.exit_code == 4
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.output


def test_the_traceback_is_there_for_who_asks(answers: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    assert "AVSYNC_DEBUG" in run("check", answers("bug")).stderr
    monkeypatch.setenv("AVSYNC_DEBUG", "1")
    assert "ZeroDivisionError" in run("check", answers("bug")).stderr.splitlines()[-2]


def test_ctrl_c_exits_130(answers: Callable[[str], Path]):
    assert run("check", answers("stop")).exit_code == 130


def test_an_error_is_one_sentence_on_stderr_and_nothing_on_stdout(answers: Callable[[str], Path]):
    done = run("check", answers("bad"))
    assert done.stderr == "avsync: bad.mp4 is no video.\n"
    assert done.stdout == ""


def test_a_verdict_is_on_stdout_and_nothing_on_stderr(answers: Callable[[str], Path]):
    done = run("check", answers("late"))
    assert done.stdout.startswith("late.mp4: OUT OF SYNC - audio is 120 ms late; advancing it by 120 ms")
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
def test_wrong_usage_exits_2(arguments: Sequence[str], answers: Callable[[str], Path]):
    assert run(*arguments).exit_code == 2


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
def test_a_wrong_value_is_told_by_the_option_as_it_was_typed(command: str, option: str, value: str):
    done = run(command, "x.mp4", *(["y.mp4"] if command == "fix-offset" else []), f"{option}={value}")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"avsync: {option} cannot be ")
    assert "_" not in done.stderr


def test_an_empty_name_is_not_this_folder(answers: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(answers("late").parent)
    assert run("check", ".").exit_code == 1
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


def test_json_of_one_file_is_a_document(answers: Callable[[str], Path]):
    document = json.loads(run("check", answers("late"), "--json").stdout)
    assert (document["schema"], document["verdict"], document["offset_ms"]) == (1, "out-of-sync", -120.0)


def test_json_of_a_failed_file_is_still_a_document(answers: Callable[[str], Path]):
    done = run("check", answers("bad"), "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 4
    assert (document["verdict"], document["reasons"][0]["text"]) == ("error", "bad.mp4 is no video.")


def test_a_batch_is_a_list_with_the_errors_in_it_and_the_highest_code(answers: Callable[[str], Path]):
    done = run("check", answers("late"), answers("bad"), answers("usage"), answers("sync"), "--json")
    assert [d["verdict"] for d in json.loads(done.stdout)] == ["out-of-sync", "error", "error", "in-sync"]
    assert done.exit_code == 4
    assert run("check", answers("late"), answers("noface")).exit_code == 3
    assert run("check", answers("late"), answers("sync")).exit_code == 1


def test_a_folder_is_a_batch_in_order(answers: Callable[[str], Path]):
    folder = answers("sync").parent
    answers("late")
    answers("noface")
    done = run("check", folder, "--json")
    assert [d["path"] for d in json.loads(done.stdout)] == ["late.mp4", "noface.mp4", "sync.mp4"]


def test_a_batch_prints_a_line_for_each_file_and_a_summary(answers: Callable[[str], Path]):
    done = run("check", answers("late"), answers("bad"), answers("sync"))
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:1]] == ["late.mp4"]
    assert "bad.mp4 is no video" in lines[1]
    assert lines[3] == "3 files: 1 in sync, 1 out of sync, 1 error."


def test_jsonl_goes_to_a_file_line_by_line(answers: Callable[[str], Path], tmp_path: Path):
    out = tmp_path / "out.jsonl"
    done = run("check", answers("late"), answers("bad"), "--jsonl", out)
    assert [json.loads(line)["verdict"] for line in out.read_text().splitlines()] == ["out-of-sync", "error"]
    assert "2 files" in done.stdout


def test_jsonl_to_stdout_is_all_there_is(answers: Callable[[str], Path]):
    done = run("check", answers("late"), answers("sync"), "--jsonl", "-")
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == ["out-of-sync", "in-sync"]


def test_after_ctrl_c_what_was_done_is_there(answers: Callable[[str], Path], tmp_path: Path):
    out = tmp_path / "out.jsonl"
    done = run("check", answers("late"), answers("stop"), answers("sync"), "--jsonl", out, "--json")
    assert done.exit_code == 130
    assert [json.loads(line)["verdict"] for line in out.read_text().splitlines()] == ["out-of-sync"]
    assert [d["verdict"] for d in json.loads(done.stdout)] == ["out-of-sync"]


def test_jsonl_does_not_destroy_a_video(answers: Callable[[str], Path]):
    video = answers("late")
    video.write_bytes(b"\0\0\0\x20ftypisom")
    assert run("check", answers("sync"), "--jsonl", video).exit_code == 2
    assert video.read_bytes() == b"\0\0\0\x20ftypisom"


# --- libraries ----------------------------------------------------------------------------


def test_a_list_is_a_batch_even_of_one(answers: Callable[[str], Path], tmp_path: Path):
    answers("late")
    (tmp_path / "list.csv").write_text("path,title\nlate.mp4,x\n")
    assert [d["path"] for d in json.loads(run("check", tmp_path / "list.csv", "--json").stdout)] == [
        "late.mp4"
    ]


def test_a_resumed_run_does_only_what_is_left_and_reports_all(
    answers: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, junit = tmp_path / "out.jsonl", tmp_path / "out.xml"
    files = [answers("late"), answers("bad"), answers("sync")]
    for stem in ("late", "bad", "sync"):
        answer = ANSWERS[stem]
        if isinstance(answer, Report):
            monkeypatch.setitem(ANSWERS, stem, replace(answer, path=str(tmp_path / f"{stem}.mp4")))
    run("check", *files[:2], "--jsonl", out)
    monkeypatch.setitem(ANSWERS, "late", AssertionError("it was done already"))
    done = run("check", *files, "--jsonl", out, "--resume", "--junit", junit)
    assert done.exit_code == 4
    assert done.stderr == "1 of 3 files are done already.\n"
    assert "3 files: 1 in sync, 1 out of sync, 1 error." in done.stdout
    verdicts = [json.loads(line)["verdict"] for line in out.read_text().splitlines()]
    assert verdicts == ["out-of-sync", "error", "in-sync"]
    assert junit.read_text().count("<testcase") == 3
    monkeypatch.setitem(ANSWERS, "bad", Report(str(files[1]), "in-sync", 0.0))
    assert run("check", *files, "--jsonl", out, "--resume").exit_code == 1
    assert run("check", files[0], "--jsonl", out, "--resume").exit_code == 1


def test_a_file_that_was_stopped_is_done_again(
    answers: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, file = tmp_path / "out.jsonl", answers("half")
    half = Report(str(file), "in-sync", 4.0, 8.0, 0.98, complete=False)
    monkeypatch.setitem(ANSWERS, "half", Interrupted(half))
    assert run("check", file, "--jsonl", out).exit_code == 130
    assert json.loads(out.read_text())["complete"] is False
    monkeypatch.setitem(ANSWERS, "half", replace(half, complete=True))
    assert run("check", file, "--jsonl", out, "--resume").exit_code == 0
    assert [json.loads(line)["complete"] for line in out.read_text().splitlines()] == [True]


def test_junit_is_there_after_ctrl_c_and_destroys_nothing(answers: Callable[[str], Path], tmp_path: Path):
    junit = tmp_path / "out.xml"
    assert run("check", answers("late"), answers("stop"), "--junit", junit).exit_code == 130
    assert junit.read_text().count("<testcase") == 1
    video = answers("sync")
    video.write_bytes(b"\0\0\0\x20ftypisom")
    assert run("check", answers("late"), "--junit", video).exit_code == 2
    assert video.read_bytes() == b"\0\0\0\x20ftypisom"


def test_ray_that_is_missing_is_one_sentence(answers: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("check", answers("late"), "--engine", "ray")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'avsync[ray]'" in done.stderr


# --- where results go ---------------------------------------------------------------------

RESULTS = {"--jsonl": "x.jsonl", "--junit": "x.xml", "--report": "x.html", "--plot": "x.png"}


@pytest.mark.parametrize("option", RESULTS)
def test_the_folder_of_a_result_is_made(option: str, answers: Callable[[str], Path], tmp_path: Path):
    target = tmp_path / "new" / "folder" / RESULTS[option]
    assert run("check", answers("late"), option, target).exit_code == 1
    assert target.stat().st_size


@pytest.mark.parametrize("option", RESULTS)
def test_a_result_that_has_no_place_is_told_before_the_work(
    option: str, answers: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(ANSWERS, "late", AssertionError("the work began"))
    (tmp_path / "notes.txt").touch()
    places = [tmp_path / "notes.txt"]
    if Path("/proc/self").exists():  # takes no new files from anybody, root included
        places += [Path("/proc"), Path("/proc/new")]
    for place in places:
        done = run("check", answers("late"), option, place / RESULTS[option])
        assert done.exit_code == 4
        assert str(place) in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--jsonl", "--junit", "--report"])
def test_a_folder_is_no_file_for_a_result(
    option: str, answers: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(ANSWERS, "late", AssertionError("the work began"))
    done = run("check", answers("late"), option, tmp_path)
    assert done.exit_code == 2
    assert option in done.stderr


@pytest.mark.parametrize("option", ["--junit", "--report", "--plot"])
def test_only_json_goes_to_stdout(
    option: str, answers: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    done = run("check", answers("late"), option, "-")
    assert done.exit_code == 2
    assert "stdout" in done.stderr
    assert not Path("-").exists()


@pytest.mark.parametrize("option", ["--jsonl", "--junit"])
def test_a_pipe_is_written_into_and_stays(option: str, answers: Callable[[str], Path], tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("check", answers("late"), option, pipe).exit_code == 1
        assert b"late.mp4" in os.read(end, 1 << 16)
    finally:
        os.close(end)
    assert pipe.is_fifo()


def test_two_results_do_not_share_a_file(answers: Callable[[str], Path], tmp_path: Path):
    done = run("check", answers("late"), "--jsonl", tmp_path / "x", "--junit", tmp_path / "x")
    assert done.exit_code == 2
    assert not (tmp_path / "x").exists()


def test_a_link_to_a_result_stays_a_link(answers: Callable[[str], Path], tmp_path: Path):
    (tmp_path / "link.xml").symlink_to(tmp_path / "real.xml")
    run("check", answers("late"), "--junit", tmp_path / "link.xml")
    assert (tmp_path / "link.xml").is_symlink()
    assert "testcase" in (tmp_path / "real.xml").read_text()


# --- plots --------------------------------------------------------------------------------


def test_plot_into_a_file_or_a_folder(answers: Callable[[str], Path], tmp_path: Path):
    run("check", answers("late"), "--plot", tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    run("check", answers("late"), answers("bad"), "--plot", tmp_path / "plots")
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["late.mp4.png"]


def test_a_plot_is_not_written_over_another_kind_of_file(answers: Callable[[str], Path]):
    video = answers("late")
    assert run("check", answers("sync"), "--plot", video).exit_code == 2


# --- pages --------------------------------------------------------------------------------


def test_a_page_of_one_file_or_of_a_batch(answers: Callable[[str], Path], tmp_path: Path):
    page = tmp_path / "page.html"
    assert run("check", answers("late"), "--report", page).exit_code == 1
    assert "Out of sync" in page.read_text()
    run("check", answers("late"), answers("bad"), "--report", page)
    assert "2 videos" in page.read_text()
    assert "bad.mp4 is no video" in page.read_text()


def test_a_page_is_there_after_an_error_and_after_ctrl_c(answers: Callable[[str], Path], tmp_path: Path):
    page = tmp_path / "page.html"
    assert run("check", answers("bad"), "--report", page).exit_code == 4
    assert "bad.mp4 is no video" in page.read_text()
    assert run("check", answers("late"), answers("stop"), "--report", page).exit_code == 130
    assert "Out of sync" in page.read_text()


def test_a_page_is_an_html_file_and_destroys_nothing(answers: Callable[[str], Path], tmp_path: Path):
    video = answers("late")
    assert run("check", video, "--report", tmp_path).exit_code == 2
    assert run("check", video, "--report", tmp_path / "page.pdf").exit_code == 2
    other = tmp_path / "other.html"
    other.write_bytes(b"\0\0\0\x20ftypisom")
    assert run("check", video, "--report", other).exit_code == 2
    assert other.read_bytes() == b"\0\0\0\x20ftypisom"


@pytest.mark.parametrize(
    "arguments", [["check", "a.mp4", "b.mp4", "--jsonl", "x.jsonl"], ["demo", "--out", "d"]]
)
def test_a_missing_model_is_told_once_and_before_anything_is_written(
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


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path):
    (tmp_path / "x.mp4").write_text("no video")
    started = command("check", tmp_path / "x.mp4", tmp_path / "x.mp4", "--json")
    assert started.stdout is not None
    started.stdout.close()
    _, said = started.communicate(timeout=300)
    assert said == ""
    assert started.returncode == 4


def test_help_that_nobody_reads_to_its_end_is_no_error():
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


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_real_command_quietly(number: signal.Signals, code: int, tmp_path: Path):
    program = """
import sys, time
from avsync import cli
from avsync.pipeline import run as pipeline

def measure(*_):
    print("working", flush=True)
    time.sleep(300)

pipeline.measure = measure
sys.argv = ["avsync", "check", "x.mp4"]
cli.main()
"""
    started = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "working\n"
    started.send_signal(number)
    _, said = started.communicate(timeout=300)
    assert started.returncode == code
    assert "Traceback" not in said


def test_ctrl_c_in_the_middle_of_a_file_leaves_what_was_judged(early_clip: Path, tmp_path: Path):
    program = """
import sys, time
from avsync import cli
from avsync.networks import scoring as scores
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
    page = tmp_path / "page.html"
    arguments = ("check", early_clip, "--json", "--stride", "2", "--report", page)
    started = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
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


@pytest.fixture(scope="module")
def early_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if DEFAULT_MODEL not in available():
        pytest.skip(f"the model {DEFAULT_MODEL} is not here")
    return write_demo(tmp_path_factory.mktemp("demo") / "early.mp4", offset_ms=120)


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
