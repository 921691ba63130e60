"""Defects made on purpose: made as told, and told apart from what was there before."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from media_factory import bar_clip, click
from rich.console import Console
from talk_factory import Talk
from typer.testing import CliRunner

from avsync.audio import waveform
from avsync.bench.defects import KINDS, Kind, Trial, found_words, long_clips, write_defect
from avsync.cli.app import app
from avsync.cli.bench_tables import defects_table
from avsync.core.errors import MediaError, UsageError
from avsync.core.report import Fault, Report, Segment
from avsync.media.probe import probe
from avsync.repair import packets

pytestmark = pytest.mark.slow

CLICKS = "aevalsrc='if(lt(mod(t-1,3),0.01)*gte(t,1),0.5*sin(2*PI*1000*t),0)':s=48000:d=8"
"""At 1, 4 and 7 s."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flaws") / "clip.mp4"
    return bar_clip(path, "-c:a", "aac", inputs=("-f", "lavfi", "-i", CLICKS), seconds=8)


def clicks_s(video: Path) -> list[float]:
    """When clicks begin, by the clock of the video."""
    audio = waveform.waveform(probe(video))
    loud = np.flatnonzero(np.abs(audio.samples) > 0.2) / 16_000
    return [audio.start_s + t for t, gap in zip(loud, np.diff(loud, prepend=-1.0), strict=True) if gap > 0.1]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("shift", [0.76, 3.76, 6.76]),
        ("drift", [1 / 1.004, 4 / 1.004, 7 / 1.004]),
        ("jump", [1.0, 6.76]),  # the click in the middle is among what is lost
        ("swap", [2.0]),
    ],
)
def test_the_audio_is_damaged_as_asked_and_the_video_left_alone(
    clip: Path, kind: Kind, expected: list[float], tmp_path: Path
) -> None:
    once = ("-f", "lavfi", "-i", click(2.0))
    foreign = bar_clip(tmp_path / "foreign.mp4", "-c:a", "aac", inputs=once, seconds=4)
    target = tmp_path / "flawed.mkv"
    write_defect(clip, kind, target, foreign)
    assert clicks_s(target) == pytest.approx(expected, abs=0.008)
    assert probe(target).duration_s == pytest.approx(probe(clip).duration_s, abs=0.05)
    before, after = (packets.read_packets(packets.contents(path))[0] for path in (clip, target))
    assert (after.stream.kind, after.count, after.digest) == ("video", before.count, before.digest)


def test_only_long_videos_get_defects(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="20 s"):
        long_clips([clip])
    long = bar_clip(tmp_path / "long.mp4", seconds=20)
    assert long_clips([clip, long]) == [long]
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(MediaError):
        write_defect(tmp_path / "bad.mp4", "shift", tmp_path / "x.mkv")


def part(start_s: float, end_s: float, offset_ms: float, fault: bool = False) -> Segment:
    return Segment(start_s, end_s, offset_ms, 20.0, 0.9, fault)


PLAIN = Report("a", "out-of-sync", -80.0, 20.0, 0.9, segments=(part(0, 20, -80.0),))


def trial(kind: Kind, found: Report) -> Trial:
    return Trial(Path("a.mp4"), kind, PLAIN, found, 1.0)


def test_the_error_is_against_the_clip_as_it_is() -> None:
    shifted = trial("shift", Report("a", "out-of-sync", 170.0))
    assert (shifted.caught, shifted.error) == (True, 10.0)
    drifting = trial("drift", Report("a", "out-of-sync", 0.0, drift_ms_per_min=225.0))
    assert (drifting.caught, drifting.error) == (True, -15.0)
    parts = (part(0, 10, -85.0), part(10, 20, 160.0, fault=True))
    jumping = Report(
        "a", "out-of-sync", -85.0, segments=parts, faults=(Fault(10, 20, 160, 20, 0.9, "severe"),)
    )
    assert (trial("jump", jumping).caught, trial("jump", jumping).error) == (True, 5.0)
    assert found_words(jumping) == "offset, local: -85 ms; +160 ms at 10.0-20.0 s"


def test_a_defect_by_another_name_is_not_caught_and_has_no_error() -> None:
    for kind in ("drift", "jump"):
        assert (trial(kind, Report("a", "out-of-sync", 170.0)).caught) is False
        assert trial(kind, Report("a", "out-of-sync", 170.0)).error is None


def test_a_shift_is_caught_when_it_is_measured_whatever_the_standard_makes_of_it() -> None:
    late = Report("a.mp4", "out-of-sync", offset_ms=-207.0)
    into_tolerance = Trial(Path("a.mp4"), "shift", late, Report("a", "in-sync", 33.0), 1.0)
    assert (into_tolerance.caught, into_tolerance.error) == (True, 0.0)
    unsure = trial("shift", Report("a", "cannot-tell", 160.0))
    wrong = trial("shift", Report("a", "in-sync", 10.0))
    assert (unsure.caught, unsure.error) == (False, None)
    assert (wrong.caught, wrong.error) == (False, -150.0)


def test_foreign_audio_must_not_get_an_offset() -> None:
    verdicts = ("mismatch", "cannot-tell", "in-sync", "out-of-sync")
    assert [trial("swap", Report("a", v, 0.0)).caught for v in verdicts] == [True, True, False, False]


def test_a_talking_face_gets_every_defect_and_is_checked_repaired_and_checked_again(
    talk: Talk, tmp_path: Path
) -> None:
    shutil.copy(talk(seed=3, duration_s=21), tmp_path / "a.mp4")
    shutil.copy(talk(seed=8), tmp_path / "b.mp4")  # too short for defects, but with a voice to swap in
    done = CliRunner().invoke(app, ["bench", "defects", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    trials = json.loads(done.stdout)["defects"]["trials"]
    assert [(t["clip"], t["defect"]) for t in trials] == [("a.mp4", kind) for kind in KINDS]
    assert trials[0]["plain"]["verdict"] == "in-sync"
    shift, *_, swap = trials
    assert shift["caught"] and abs(shift["error"]) <= 20
    assert shift["after"]["verdict"] == "in-sync" and shift["repair_s"] > 0
    assert swap["found"]["verdict"] in ("mismatch", "cannot-tell")
    assert (swap["after"], swap["repair_s"]) == (None, None)
    assert all(t["after"] or t["why"] for t in trials[:3])
    assert str(tmp_path) not in done.stdout


def test_the_table_says_what_was_repaired_and_what_was_not() -> None:
    found = Report("a", "out-of-sync", 160.0)
    repaired = replace(trial("shift", found), after=Report("a", "in-sync", 5.0), repair_s=1.0)
    console = Console(width=200, file=io.StringIO())
    console.print(defects_table([repaired, trial("jump", found)], "avsync-4"))
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "in-sync, at most 5 ms" in text and "not repaired" in text


def test_one_bad_clip_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    done = CliRunner().invoke(app, ["bench", "defects", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    trials = json.loads(done.stdout)["defects"]["trials"]
    assert [t["found"]["verdict"] for t in trials] == 3 * ["error"]
    assert "bad.mp4" in trials[0]["found"]["summary"]


@pytest.mark.parametrize("options", [[], [".", "--shifts", "2"]])
def test_defects_need_a_folder_and_take_no_other_alterations(options: list[str]) -> None:
    assert CliRunner().invoke(app, ["bench", "defects", *options]).exit_code == 2


def test_a_folder_that_is_not_there_is_one_sentence() -> None:
    done = CliRunner().invoke(app, ["bench", "defects", "nowhere"])
    assert done.exit_code == 4
    assert "nowhere" in done.output and len(done.output.strip().splitlines()) == 1
