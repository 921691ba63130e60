"""One file through all stages, with the bundled model: synthetic talking faces whose error is known."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_factory import bar_clip, damaged, ffmpeg
from talk_factory import EARLY_MS, Talk

import avsync
from avsync.core.constants import FRAME_MS, FRAME_RATE, WINDOW_FRAMES, Sample
from avsync.core.errors import MediaError, ModelError, UsageError
from avsync.core.options import check_options
from avsync.core.records import Clip
from avsync.core.report import Report
from avsync.media.probe import probe
from avsync.networks.base import Preprocessing
from avsync.networks.checkpoint import load, save
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST
from avsync.networks.windows import window_starts
from avsync.pipeline import run, stretch

SECONDS = 6.0
SMALL = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p")
TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1)
Step = tuple[str, float, float | None]


@pytest.fixture(scope="module")
def video(talk: Talk) -> Path:
    return talk(EARLY_MS, seed=3, duration_s=SECONDS)


@pytest.fixture(scope="module")
def checked(video: Path) -> tuple[Report, list[Step]]:
    """The report on `video`, and the progress on the way."""
    steps: list[Step] = []
    return avsync.check(video, stride=2, progress=lambda *step: steps.append(step)), steps


@pytest.fixture(scope="module")
def report(checked: tuple[Report, list[Step]]) -> Report:
    return checked[0]


def kinds(report: Report) -> set[str]:
    return {reason.kind for reason in report.reasons}


# --- answers ------------------------------------------------------------------------------


def test_early_audio_is_found_and_judged(report: Report, video: Path):
    assert report.verdict == "out-of-sync"
    assert report.offset_ms == pytest.approx(EARLY_MS, abs=25)
    assert report.path == str(video)
    assert report.duration_s == pytest.approx(SECONDS, abs=0.1)
    assert report.judged_s == pytest.approx(SECONDS, abs=1.0)
    assert "file-changed" not in kinds(report)


def test_the_standard_decides_what_is_in_tolerance(talk: Talk):
    late = talk(-90.0, seed=3, duration_s=SECONDS)
    assert avsync.check(late, stride=2, standard="ebu").verdict == "out-of-sync"
    assert avsync.check(late, stride=2, standard="itu").verdict == "in-sync"


def test_the_netflix_tolerance_is_one_frame_of_this_video(tmp_path: Path):
    clip = bar_clip(tmp_path / "a.mp4", rate="50")
    assert run.tolerance(check_options(standard="netflix"), probe(clip)) == (20.0, 20.0)


def test_the_verdict_comes_from_the_face_that_speaks(video: Path, talk: Talk, tmp_path: Path):
    both = tmp_path / "both.mp4"
    beside = "[1:v]trim=end=0.04,loop=-1:1,setpts=N/25/TB[still];[still][0:v]hstack=shortest=1[v]"
    inputs = ("-i", video, "-i", talk(seed=8, duration_s=SECONDS))
    ffmpeg(*inputs, "-filter_complex", beside, "-map", "[v]", "-map", "0:a", *SMALL, "-c:a", "copy", both)
    found = avsync.check(both, stride=2)
    assert len(found.tracks) == 2
    (speaking,) = (track for track in found.tracks if track.speaking)
    assert min(box[1] for box in speaking.boxes) > 0.5, "the talking face is on the right"
    assert found.offset_ms == pytest.approx(EARLY_MS, abs=FRAME_MS)


def test_a_wider_search_scores_more_offsets(video: Path):
    wide = avsync.check(video, stride=5, max_offset_ms=2000)
    offset = wide.tracks[0].offset
    assert offset is not None
    assert (offset.shifts[0], offset.shifts[-1]) == (-50, 50)


@pytest.mark.parametrize(
    ("seconds", "encoders", "embeddings"), [(16, 1, 1), (32, 2, 1), (800, 10, 2), (36_000, 10, 10)]
)
def test_short_videos_are_scored_at_every_frame_and_long_ones_thinner(
    seconds: int, encoders: int, embeddings: int, tmp_path: Path
):
    with_encoders = save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing())
    assert stretch.auto_stride(seconds, load(str(with_encoders), "cpu")) == encoders
    assert stretch.auto_stride(seconds, load("avsync-4", "cpu")) == embeddings


@pytest.mark.parametrize("seconds", [60, 900, 7200, 360_000])
@pytest.mark.parametrize("start_s", [0.0, 12.36])
def test_however_long_the_video_every_second_of_it_holds_two_windows(seconds: int, start_s: float):
    """So that a fault of a second is looked at."""
    stride = stretch.auto_stride(seconds, load("avsync-4", "cpu"))
    starts = window_starts(Clip(0, start_s, np.zeros((250, 48, 96, 3), np.uint8)), stride)
    for first in range(250 - FRAME_RATE):
        assert np.sum((starts >= first) & (starts + WINDOW_FRAMES <= first + FRAME_RATE)) >= 2


def test_the_stride_asked_for_is_the_one_used(report: Report):
    assert report.stride == 2


def test_a_separate_audio_file_replaces_the_videos_own(video: Path, tmp_path: Path):
    ffmpeg("-i", video, "-an", "-c", "copy", tmp_path / "mute.mp4")
    ffmpeg("-i", video, "-vn", tmp_path / "speech.wav")
    found = avsync.check(tmp_path / "mute.mp4", audio=tmp_path / "speech.wav", stride=2)
    assert (found.verdict, found.audio_track) == ("out-of-sync", None)
    assert found.offset_ms == pytest.approx(EARLY_MS, abs=25)


def test_speech_without_a_face_is_heard_but_not_judged(video: Path, tmp_path: Path):
    hidden = "drawbox=c=black:t=fill:enable='gte(t,4)'"
    ffmpeg("-i", video, "-vf", hidden, *SMALL, "-c:a", "copy", tmp_path / "half.mp4")
    found = avsync.check(tmp_path / "half.mp4", stride=2)
    assert found.speech_s is not None
    assert found.speech_seen_s is not None
    assert found.speech_judged_s is not None
    assert found.speech_judged_s <= found.speech_seen_s < found.speech_s - 1
    assert any(part.cause == "no-face" for part in found.unjudged)


@pytest.mark.slow
def test_speech_that_goes_on_after_the_video_counts_neither_as_heard_nor_as_judged(
    video: Path, tmp_path: Path
):
    ffmpeg("-stream_loop", 2, "-i", video, "-vn", tmp_path / "long.wav")
    found = avsync.check(video, audio=tmp_path / "long.wav", stride=2)
    assert found.speech_s is not None
    assert 2 < found.speech_s <= SECONDS


def test_a_file_that_changes_meanwhile_is_judged_and_noted(video: Path, tmp_path: Path):
    copy = tmp_path / "talk.mp4"
    copy.write_bytes(video.read_bytes())
    found = avsync.check(copy, stride=2, progress=lambda *_: os.utime(copy, (0, 0)))
    assert found.verdict == "out-of-sync"
    assert "file-changed" in kinds(found)


def test_what_could_not_be_decoded_is_noted_with_its_times(video: Path, tmp_path: Path):
    ffmpeg("-i", video, *SMALL, "-g", 25, "-c:a", "copy", tmp_path / "whole.mkv")
    found = avsync.check(damaged(tmp_path / "whole.mkv", tmp_path / "broken.mkv", part=0.1), stride=2)
    (lost,) = (reason for reason in found.reasons if reason.kind == "damaged-video")
    assert 0 < lost.values["start_s"] < lost.values["end_s"] < SECONDS


@pytest.mark.slow
def test_audio_long_after_the_video_is_not_judged(video: Path, report: Report, tmp_path: Path):
    ffmpeg("-i", video, "-c:v", "copy", "-af", "apad=whole_dur=400", tmp_path / "long.mp4")
    found = avsync.check(tmp_path / "long.mp4", stride=2)
    assert found.offset_ms == pytest.approx(report.offset_ms, abs=5)
    assert found.looked_at == ((0.0, pytest.approx(SECONDS, abs=0.1)),)
    assert "no-video-at-end" in kinds(found)
    assert found.unjudged[-1].cause == "no-video"
    assert found.judged_s == pytest.approx(report.judged_s, abs=0.2)


@pytest.mark.slow
def test_lips_that_move_but_fit_the_speech_nowhere_are_a_mismatch(talk: Talk, tmp_path: Path):
    inputs = ("-i", talk(seed=3, duration_s=30.0), "-i", talk(seed=11, duration_s=30.0))
    ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", "-c", "copy", tmp_path / "dub.mp4")
    found = avsync.check(tmp_path / "dub.mp4")
    assert found.verdict in ("mismatch", "cannot-tell")
    assert found.uncertainty_ms is None or found.verdict == "cannot-tell"


# --- cannot tell --------------------------------------------------------------------------


def test_no_face_is_an_answer_with_its_reason(video: Path, tmp_path: Path):
    bars = ("-f", "lavfi", "-i", f"smptebars=size=320x240:rate=25:duration={SECONDS}")
    ffmpeg(*bars, "-i", video, "-map", "0:v", "-map", "1:a", *SMALL, "-c:a", "copy", tmp_path / "bars.mp4")
    found = avsync.check(tmp_path / "bars.mp4")
    assert (found.verdict, found.offset_ms) == ("cannot-tell", None)
    assert found.reasons[0].kind.startswith("no-face")


def test_silence_is_known_before_faces_are_looked_for(video: Path, tmp_path: Path):
    ffmpeg("-i", video, "-c:v", "copy", "-af", "volume=0", tmp_path / "silent.mp4")
    stages: list[str] = []
    found = avsync.check(tmp_path / "silent.mp4", progress=lambda stage, *_: stages.append(stage))
    assert (found.verdict, found.reasons[0].kind) == ("cannot-tell", "silent")
    assert "faces" not in stages


def test_a_face_that_does_not_move_gives_no_offset(video: Path, tmp_path: Path):
    still = "trim=end=0.04,loop=-1:1,setpts=N/25/TB"
    ffmpeg("-i", video, "-vf", still, "-t", SECONDS, *SMALL, "-c:a", "copy", tmp_path / "still.mp4")
    found = avsync.check(tmp_path / "still.mp4", stride=2)
    assert found.verdict == "cannot-tell"
    assert found.reasons


# --- long files ---------------------------------------------------------------------------


def seconds_of(report: Report) -> float:
    return sum(end - start for start, end in report.looked_at)


def test_a_short_file_is_looked_at_in_one_piece_and_the_report_says_so(report: Report):
    assert report.looked_at == ((0.0, pytest.approx(SECONDS, abs=0.1)),)
    assert report.complete
    assert "sampled" not in kinds(report)


@pytest.mark.slow
def test_a_long_file_is_looked_at_here_and_there_until_the_answer_is_certain(talk: Talk, tmp_path: Path):
    minute = talk(EARLY_MS, seed=3, duration_s=62.0, size=192)
    ffmpeg("-stream_loop", 10, "-i", minute, "-c", "copy", tmp_path / "film.mp4")
    found = avsync.check(tmp_path / "film.mp4", sample="adaptive", stride=5)
    assert found.verdict == "out-of-sync"
    assert found.offset_ms == pytest.approx(EARLY_MS, abs=30)
    assert found.duration_s is not None
    assert 0.1 < seconds_of(found) / found.duration_s < 0.5
    assert found.looked_at[0][0] == 0
    assert found.looked_at[-1][1] == pytest.approx(found.duration_s, abs=0.1)
    assert "sampled" in kinds(found)
    assert any(part.cause == "not-needed" for part in found.unjudged)
    assert [track.track for track in found.tracks] == list(range(len(found.tracks)))
    assert [track.start_s for track in found.tracks] == sorted(track.start_s for track in found.tracks)


# --- Ctrl-C -------------------------------------------------------------------------------

STOPPED = """
import json, os, signal, sys
import avsync
from avsync.core.errors import Interrupted

stage, share = sys.argv[2], float(sys.argv[3])
sent = []

def stop(name, done, total):
    if name == stage and done >= share and not sent:
        sent.append(name)
        os.kill(os.getpid(), signal.SIGINT)

try:
    avsync.check(sys.argv[1], progress=stop)
except Interrupted as stopped:
    report = stopped.so_far
    print(json.dumps({
        "complete": report.complete, "verdict": report.verdict, "duration_s": report.duration_s,
        "looked_at": report.looked_at, "causes": [u.cause for u in report.unjudged],
        "reasons": [r.kind for r in report.reasons],
    }))
"""


def stopped(clip: Path, stage: str, share: float) -> dict[str, Any]:
    """What a check that gets Ctrl-C at this point of its progress leaves."""
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    command = [sys.executable, "-c", STOPPED, str(clip), stage, str(share)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout or pytest.fail(done.stderr))


@pytest.mark.slow
def test_ctrl_c_leaves_what_was_judged_by_then(talk: Talk):
    found = stopped(talk(EARLY_MS, seed=3, duration_s=25.0), "faces", 0.95)
    assert found["complete"] is False
    assert found["reasons"][-1].startswith("stopped")
    assert "stopped" in found["causes"]
    assert sum(end - start for start, end in found["looked_at"]) < found["duration_s"]


@pytest.mark.parametrize("stage", ["probe", "model", "audio"])
def test_ctrl_c_before_anything_was_judged_says_so(stage: str, video: Path):
    found = stopped(video, stage, 0.0)
    assert (found["complete"], found["verdict"], found["looked_at"]) == (False, "cannot-tell", [])
    assert found["reasons"] == ["stopped-at-once"]


# --- errors -------------------------------------------------------------------------------


def test_a_file_without_video_is_an_error(video: Path, tmp_path: Path):
    ffmpeg("-i", video, "-vn", tmp_path / "speech.wav")
    with pytest.raises(MediaError, match="no video"):
        avsync.check(tmp_path / "speech.wav")


def test_a_model_that_is_missing_is_known_before_the_work(video: Path):
    stages: list[str] = []
    with pytest.raises(ModelError, match="nope"):
        avsync.check(video, model="nope", progress=lambda stage, *_: stages.append(stage))
    assert "audio" not in stages


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"standard": "smpte"}, "standard cannot be 'smpte'"),
        ({"face_detector": "eyes"}, "face_detector"),
        ({"device": "tpu"}, "device"),
        ({"max_offset_ms": -1}, "max_offset_ms"),
        ({"max_offset_ms": float("nan")}, "max_offset_ms"),
        ({"max_offset_ms": "600"}, "max_offset_ms"),
        ({"max_offset_ms": 1e9}, "max_offset_ms"),
        ({"max_drift_ms_per_min": -1}, "max_drift_ms_per_min"),
        ({"audio_track": -1}, "audio_track"),
        ({"audio_track": 1.5}, "it is a whole number"),
        ({"audio_track": True}, "audio_track"),
        ({"stride": 0}, "stride"),
        ({"sample": "some"}, "sample cannot be 'some'"),
        ({"audio": "x.wav", "audio_track": 1}, "not both"),
        ({"max_offset": 3}, "no option 'max_offset'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], words: str):
    with pytest.raises(UsageError, match=words):
        avsync.check("talk.mp4", **options)


def test_a_wrong_shift_is_named():
    with pytest.raises(UsageError, match="offset_ms"):
        avsync.fix_offset("in.mp4", "out.mp4", offset_ms=float("inf"))


# --- around -------------------------------------------------------------------------------


def test_a_model_is_loaded_once():
    run.load_model.cache_clear()
    assert run.load_model("avsync-4", "cpu") is run.load_model("avsync-4", "cpu")
    assert run.load_model.cache_info().misses == 1


def test_progress_names_the_stages_in_order_and_never_exceeds_its_total(checked: tuple[Report, list[Step]]):
    steps = checked[1]
    names = list(dict.fromkeys(stage for stage, _, _ in steps))
    assert names == ["probe", "audio", "model", "faces"]
    assert all(total is None or done <= total for _, done, total in steps)


def test_time_is_booked_to_stages_that_add_up(report: Report):
    timings = report.timings_s
    in_turn = {"probe", "model", "audio", "faces", "scores", "offset"}
    beside = {"decoding", "detection", "crops"}
    assert set(timings) == {*in_turn, *beside, "total"}
    assert sum(timings[stage] for stage in in_turn) <= timings["total"] + 0.01
    assert sum(timings[stage] for stage in beside) <= timings["total"]
    assert min(timings.values()) >= 0
    assert min(timings[stage] for stage in beside) > 0


def test_fixing_measures_with_the_options_given(video: Path, tmp_path: Path):
    done = avsync.fix_offset(
        video, tmp_path / "fixed.mp4", standard="itu", max_offset_ms=800, stride=2, dry_run=True
    )
    before = done.report_before
    assert before is not None
    assert (before.standard, before.settings["sample"]) == ("itu", "auto")
    assert before.tracks[0].offset is not None
    assert len(before.tracks[0].offset.shifts) == 41


@pytest.mark.slow
def test_retiming_looks_at_all_of_a_video_unless_asked_otherwise(video: Path, tmp_path: Path):
    cases: tuple[tuple[Sample, str], ...] = (("auto", "exhaustive"), ("adaptive", "adaptive"))
    for sample, used in cases:
        done = avsync.fix_offset(
            video, tmp_path / "fixed.mp4", method="retime", sample=sample, stride=2, dry_run=True
        )
        assert done.report_before is not None
        assert done.report_before.settings["sample"] == used
