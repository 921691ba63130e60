"""Defects made on purpose: made as told, and told apart from what was there before."""

import json
from pathlib import Path

import numpy as np
import pytest
from media_factory import bar_clip, click
from typer.testing import CliRunner

from avsync import api
from avsync.audio import waveform
from avsync.bench import defects
from avsync.bench.defects import KINDS, Kind, Trial, found_words, long_clips, write_defect
from avsync.cli.app import app
from avsync.core.errors import CannotTell, MediaError, UsageError
from avsync.core.report import Fault, Report, Segment
from avsync.media.probe import probe
from avsync.repair import packets
from avsync.repair.fix import FixResult

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


def test_only_long_videos_are_spoilt(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="20 s"):
        long_clips([clip])
    monkeypatch.setattr(defects, "MIN_CLIP_S", 5.0)
    assert long_clips([clip]) == [clip]
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


def test_every_clip_gets_every_defect_in_one_table_and_one_document(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).symlink_to(clip)
    asked = []

    def fix(src: Path, dst: Path, *, method: str, **options: object) -> FixResult:
        asked.append(method)
        if len(asked) % 3 == 0:
            raise CannotTell(f"{src}: no single shift mends it.")
        return FixResult(None, Report(str(dst), "in-sync", 5.0), 240.0, "", True, "")

    monkeypatch.setattr(defects, "MIN_CLIP_S", 5.0)
    monkeypatch.setattr(api, "check", lambda path, **_: Report(str(path), "out-of-sync", 100.0))
    monkeypatch.setattr(api, "fix_offset", fix)
    done = CliRunner().invoke(app, ["bench", "defects", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    trials = json.loads(done.stdout)["defects"]["trials"]
    assert [(t["clip"], t["defect"]) for t in trials] == [(c, k) for c in ("a.mp4", "b.mp4") for k in KINDS]
    assert asked == 2 * ["copy", "retime", "retime"]
    assert trials[0]["error"] == -240.0 and trials[0]["after"]["verdict"] == "in-sync"
    assert trials[2]["after"] is None and trials[2]["why"] == "the copy: no single shift mends it."
    assert trials[3]["repair_s"] is None
    table = CliRunner().invoke(app, ["bench", "defects", str(tmp_path)])
    assert "in-sync, at most 5 ms" in table.stdout and "not repaired" in table.stdout


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
