"""A drifting or jumping audio track is re-encoded so that known errors are gone, and nothing else changes."""

import itertools
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from report_factory import said

from avsync.core.errors import CannotTell, UsageError
from avsync.core.options import CheckOptions, FixOptions
from avsync.core.report import Fault, Reason, Report, Segment, TrackReport
from avsync.media.ffmpeg import ffmpeg_path
from avsync.media.probe import probe
from avsync.repair import fix, retime
from avsync.repair.retime import Part, Stretch
from avsync.report.repaired import retime_words

RATE = 48_000
SECONDS = 20.0
TICKS = np.arange(0.5, SECONDS, 0.5)
"""Seconds at which something is seen; its audio is heard earlier by the offset."""
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "50", "-pix_fmt", "yuv420p")
Curve = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def drifting(times):
    return 30.0 + 600.0 * (times - SECONDS / 2) / 60


def jumping(times):
    return np.where((times >= 7.25) & (times < 14.25), 200.0, 0.0)


def falling(times):
    return np.where(times >= 10.25, -150.0, 40.0)


DRIFT = Report(
    "in", "out-of-sync", 30.0, 8.0, 0.97, duration_s=SECONDS,
    drift_ms_per_min=600.0, drift_uncertainty_ms_per_min=9.0,
    segments=(Segment(0, 10, -20.0, 8, 0.9), Segment(10, SECONDS, 80.0, 8, 0.9)),
)  # fmt: skip
JUMP = Report(
    "in", "out-of-sync", 0.0, 8.0, 0.97, duration_s=SECONDS,
    faults=(Fault(7.25, 14.25, 200.0, 8.0, 0.9, "severe"),),
    segments=(Segment(0, 7.25, 0.0, 8, 0.9), Segment(7.25, 14.25, 200.0, 8, 0.9, fault=True),
              Segment(14.25, SECONDS, 0.0, 8, 0.9)),
)  # fmt: skip
FALL = Report(
    "in", "out-of-sync", 40.0, 8.0, 0.97, duration_s=SECONDS,
    faults=(Fault(10.25, SECONDS, -150.0, 8.0, 0.9, "severe"),),
    segments=(Segment(0, 10.25, 40.0, 8, 0.9), Segment(10.25, SECONDS, -150.0, 8, 0.9, fault=True)),
)  # fmt: skip
GOOD = Report("in", "in-sync", 2.0, 8.0, 0.97, duration_s=SECONDS)


def clicks(offset_ms: Curve, channels: int = 1) -> npt.NDArray[np.float32]:
    """A tone of 5 ms for each tick, (n, channels), early by the offset at its tick."""
    heard = TICKS - offset_ms(TICKS) / 1000
    times = np.arange(round(SECONDS * RATE)) / RATE
    nearest = times - heard[np.abs(np.searchsorted(heard, times + 0.25) - 1).clip(0, len(heard) - 1)]
    tone = np.where((nearest >= 0) & (nearest < 0.005), 0.5 * np.cos(2 * np.pi * 1000 * nearest), 0.0)
    return np.repeat(tone[:, None], channels, axis=1).astype(np.float32)


def click_times(samples: npt.NDArray[np.float32], rate: int = RATE, start_s: float = 0.0):
    """Seconds at which the tones begin."""
    loud = np.flatnonzero(np.abs(samples).max(axis=1) > 0.2)
    return start_s + loud[np.concatenate([[True], np.diff(loud) > 0.1 * rate])] / rate


def made(path: Path, offset_ms: Curve, *codecs: str, second: bool = False) -> Path:
    """A clip with the clicks, and before or beside them what must survive untouched."""
    wav = path.with_suffix(".wav")
    soundfile.write(wav, clicks(offset_ms, 2), RATE)
    inputs = ["-f", "lavfi", "-i", f"testsrc=s=96x64:r=25:d={SECONDS}", "-i", str(wav)]
    maps = ["-map", "0:v", "-map", "1:a", *(["-map", "1:a"] if second else [])]
    tags = ["-metadata:s:a:0", "language=fra", "-metadata:s:a:0", "title=Film", "-metadata", "title=My film"]
    call = [ffmpeg_path(), "-v", "error", "-y", *inputs, *maps, *codecs, *tags, str(path)]
    subprocess.run(call, check=True, capture_output=True)
    wav.unlink()
    return path


def heard(path: Path, track: int = 0):
    """Where the clicks are, on the clock of the video."""
    with av.open(str(path)) as file:
        blocks = list(file.decode(file.streams.audio[track]))
        start = blocks[0].time
        rate = blocks[0].sample_rate
        samples = np.concatenate(
            [
                b.to_ndarray().astype(np.float64).reshape(-1, b.samples, order="F")
                if not b.format.is_planar
                else b.to_ndarray()
                for b in blocks
            ],
            axis=1,
        )
    peak = np.abs(samples).max()
    with av.open(str(path)) as file:
        first_frame_s = next(file.decode(file.streams.video[0])).time
    assert start is not None and first_frame_s is not None
    return click_times((samples / peak).T.astype(np.float32), rate, start - first_frame_s)


def hashes(path: Path, kinds: str) -> list[str]:
    maps = [word for kind in kinds.split() for word in ("-map", f"0:{kind}?")]
    call = [ffmpeg_path(), "-v", "error", "-i", f"file:{path}", *maps, "-c", "copy", "-f", "streamhash", "-"]
    lines = subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    return sorted(re.sub(r"^\d+,", "", line) for line in lines)


def repair(src: Path, dst: Path, before: Report, after: Report = GOOD, **more):
    answers = [before, after]
    announce = more.pop("announce", None)
    options = FixOptions(method="retime", **more)
    return fix.fix_offset(src, dst, options, measure=lambda _path: answers.pop(0), announce=announce)


# --- The plan ---------------------------------------------------------------------------------


def test_a_report_without_faults_is_one_line():
    (line,) = retime.stretches(DRIFT)
    assert [line.offset_s(t) for t in (0.0, 10.0, 20.0)] == pytest.approx([-0.07, 0.03, 0.13])


def test_faults_cut_the_line():
    found = retime.stretches(JUMP)
    assert [(s.start_s, s.end_s, s.offset_ms) for s in found] == [
        (-np.inf, 7.25, 0.0), (7.25, 14.25, 200.0), (14.25, np.inf, 0.0)
    ]  # fmt: skip
    assert [(s.start_s, s.end_s) for s in retime.stretches(FALL)] == [(-np.inf, 10.25), (10.25, np.inf)]


def test_a_fault_reaches_to_the_ends_where_nobody_is_seen_beyond_it():
    judged = replace(JUMP, segments=JUMP.segments[1:2])
    assert [(s.start_s, s.end_s) for s in retime.stretches(judged)] == [(-np.inf, np.inf)]
    faces = tuple(TrackReport(i, *span, 99, None) for i, span in enumerate([(0.0, 7.25), (7.25, 14.25)]))
    one_before = replace(judged, tracks=faces)
    assert [(s.start_s, s.end_s) for s in retime.stretches(one_before)] == [(-np.inf, 7.25), (7.25, np.inf)]


def test_without_an_offset_there_is_no_plan():
    with pytest.raises(CannotTell):
        retime.stretches(Report("in", "cannot-tell"))


@given(
    offsets=st.lists(st.integers(-300, 300), min_size=1, max_size=4),
    slope=st.floats(-5, 5),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_parts_follow_the_offset_and_never_overlap_but_to_fade(offsets, slope, seed):
    edges = [-np.inf, *(4.0 * (i + 1) for i in range(len(offsets) - 1)), np.inf]
    found = [Stretch(a, b, 0.0, float(o), slope)
             for a, b, o in zip(edges[:-1], edges[1:], offsets, strict=True)]  # fmt: skip
    audio = np.random.default_rng(seed).normal(0, 0.1, (16_000, 1)).astype(np.float32)
    cuts = retime.parts(found, audio, 800, 0.0)
    assert cuts[0].first == 0
    for part, here in zip(cuts, found, strict=True):
        middle = (part.first + part.past) / 2
        place = part.source + (middle - part.first) * part.speed
        assert place / 800 == pytest.approx(middle / 800 - here.offset_s(middle / 800), abs=0.002)
    for a, b in itertools.pairwise(cuts):
        assert a.past - b.first <= 2 * round(retime.FADE_S * 800) + 1


def test_a_lost_block_is_replaced_by_silence_and_a_foreign_one_is_cut_out():
    audio = np.ones((8000, 1), np.float32)
    up = [Stretch(-np.inf, 4.0, 0, 0.0), Stretch(4.0, np.inf, 0, 500.0)]
    a, b = retime.parts(up, audio, 1000, 0.0)
    assert b.first - a.past == pytest.approx(500, abs=1)
    assert a.source + a.past - a.first == pytest.approx(b.source, abs=1)  # nothing is lost or heard twice
    down = [Stretch(-np.inf, 4.0, 0, 500.0), Stretch(4.0, np.inf, 0, 0.0)]
    a, b = retime.parts(down, audio, 1000, 0.0)
    fade = 2 * round(retime.FADE_S * 1000)
    assert a.past - b.first == fade
    assert b.source - (a.source + a.past - a.first) == pytest.approx(500 - fade, abs=1)


def test_a_jump_is_put_where_it_is_quiet():
    audio = np.ones((8000, 1), np.float32)
    audio[4100:4180] = 0
    down = [Stretch(-np.inf, 4.0, 0, 0.0), Stretch(4.0, np.inf, 0, -300.0)]
    a, b = retime.parts(down, audio, 1000, 0.0)
    assert 4100 <= (a.past + b.first) / 2 <= 4180


# --- The audio --------------------------------------------------------------------------------


def written(tmp_path: Path, audio, cuts):
    with (tmp_path / "out.f32").open("w+b") as file:
        count = retime.write_retimed(audio, RATE, cuts, file)
    return np.fromfile(tmp_path / "out.f32", np.float32).reshape(count, audio.shape[1])


def test_untouched_audio_comes_through_to_the_bit(tmp_path: Path):
    audio = np.random.default_rng(0).normal(0, 0.1, (100_000, 3)).astype(np.float32)
    np.testing.assert_array_equal(written(tmp_path, audio, [Part(0, 100_000, 0.0, 1.0)]), audio)
    late = written(tmp_path, audio, [Part(0, 100_000, -7.0, 1.0)])
    np.testing.assert_array_equal(late[7:], audio[:-7])
    assert not late[:7].any()


@pytest.mark.parametrize("speed", [0.99, 0.9999, 1.0007, 1.04])
def test_resampling_keeps_pitch_to_the_speed_and_places_to_the_sample(tmp_path: Path, speed: float):
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE).astype(np.float32)[:, None]
    out = written(tmp_path, tone, [Part(0, 2 * RATE, 1234.0, speed)])[:, 0]
    wanted = np.sin(2 * np.pi * 440 * (1234 + np.arange(2 * RATE) * speed) / RATE)
    assert np.abs(out - wanted)[200:-200].max() < 0.03  # half a sample of 440 Hz


def test_cross_fades_of_a_steady_signal_leave_it_steady(tmp_path: Path):
    cuts = [Part(0, 5000, 0.0, 1.0, 0, 960), Part(4040, 9000, 6000.0, 1.0, 960, 0)]
    out = written(tmp_path, np.ones((20_000, 1), np.float32), cuts)
    np.testing.assert_allclose(out, 1, atol=1e-3)


@pytest.mark.parametrize(
    ("offset_ms", "report"),
    [(drifting, DRIFT), (jumping, JUMP), (falling, FALL)],
    ids=["drift", "jump", "fall"],
)
def test_known_errors_are_gone(tmp_path: Path, offset_ms: Curve, report: Report):
    audio = clicks(offset_ms)
    found = click_times(written(tmp_path, audio, retime.parts(retime.stretches(report), audio, RATE, 0.0)))
    for tick in TICKS[1:-1]:
        assert np.abs(found - tick).min() < 0.001, tick


@pytest.mark.parametrize(("between", "room_s"), [(None, 0.25), ((8.25, 12.65), 1.2)])
def test_where_the_place_of_a_jump_is_uncertain_the_change_comes_at_a_pause_nearby(between, room_s: float):
    """Speech everywhere but in a pause 1 s after the place that was measured."""
    times = np.arange(round(SECONDS * RATE)) / RATE
    loud = np.random.default_rng(0).normal(0, 0.3, (len(times), 1)).astype(np.float32)
    pause = (times >= 11.2) & (times < 11.4)
    loud[pause] = 0
    (fault,) = FALL.faults
    report = replace(FALL, faults=(replace(fault, start_between_s=between),))
    before, _ = retime.parts(retime.stretches(report), loud, RATE, 0.0)
    changes_s = before.past / RATE
    assert abs(changes_s - fault.start_s) <= room_s
    assert (11.1 < changes_s < 11.5) == (between is not None)


# --- Files ------------------------------------------------------------------------------------

FILES = {
    "clip.mp4": (*X264, "-c:a", "aac"),
    "clip.mov": (*X264, "-c:a", "pcm_s16le"),
    "clip.mkv": (*X264, "-c:a", "flac"),
    "clip.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "clip.ts": (*X264, "-c:a", "mp2", "-output_ts_offset", "3600"),
    "clip.mpg": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"),
    "clip.flv": (*X264, "-c:a", "libmp3lame"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "clip.mp4" else pytest.mark.slow) for name in FILES]
)
def test_in_every_container_the_drift_is_gone_and_the_video_is_the_same(tmp_path: Path, name: str):
    src = made(tmp_path / name, drifting, *FILES[name])
    dst = tmp_path / f"out{src.suffix}"
    result = repair(src, dst, DRIFT)
    assert result.written
    found = heard(dst)
    for tick in TICKS[1:-1]:
        assert np.abs(found - tick).min() < 0.004, tick
    assert hashes(dst, "v") == hashes(src, "v")
    old, new = probe(src).audio[0], probe(dst).audio[0]
    assert (new.codec, new.rate_hz, new.channels) == (old.codec, old.rate_hz, old.channels)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([src.name, dst.name])


def test_only_the_judged_track_is_encoded_anew(tmp_path: Path):
    src = made(tmp_path / "two.mkv", jumping, *X264, "-c:a", "ac3", second=True)
    dst = tmp_path / "out.mkv"
    said: list[str] = []
    result = repair(src, dst, JUMP, announce=said.append, check=CheckOptions(audio_track=0))
    assert hashes(dst, "v a:1") == hashes(src, "v a:1")
    assert hashes(dst, "a:0") != hashes(src, "a:0")
    track = probe(dst).audio[0]
    assert (track.language, track.title, track.codec) == ("fra", "Film", "ac3")
    (sentence,) = said
    for words in (sentence, result.sentence):
        assert "audio track 0" in words
        assert "re-encoded (ac3, 192 kb/s)" in words
        assert "the other audio tracks stay as they are" in words
    found, other = heard(dst), heard(dst, 1)
    np.testing.assert_allclose(other, heard(src, 1), atol=1e-4)
    assert np.abs(found - 10.5).min() < 0.004 < np.abs(other - 10.5).min()


def test_before_and_after_are_reported_and_the_plan_is_announced_first(tmp_path: Path):
    src = made(tmp_path / "in.mp4", drifting, *X264, "-c:a", "aac")
    dst = tmp_path / "out.mp4"
    said: list[str] = []

    def announce(sentence: str) -> None:
        assert not dst.exists()
        said.append(sentence)

    result = repair(src, dst, DRIFT, announce=announce)
    assert said == [
        f"{src}: audio track 0 is resampled by +1.000 % against a drift of +600 ms a minute, and re-encoded "
        "(aac, 192 kb/s); everything else is copied."
    ]
    assert "Before: audio is 30 ms early on the whole" in result.sentence
    assert "After: audio is 2 ms early, within tolerance." in result.sentence
    assert (result.report_before, result.report_after) == (DRIFT, replace(GOOD, path=str(dst)))


# --- What is not done -------------------------------------------------------------------------


@pytest.mark.parametrize("report", [DRIFT, JUMP, FALL], ids=["drift", "jump", "fall"])
def test_a_single_shift_is_declined_and_the_other_method_named(tmp_path: Path, report: Report):
    src = made(tmp_path / "in.mp4", drifting, *X264, "-c:a", "aac")
    with pytest.raises(CannotTell, match=r"nothing is written.*--method retime") as error:
        fix.fix_offset(src, tmp_path / "out.mp4", FixOptions(), measure=lambda _path: report)
    assert error.value.exit_code == 3
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_recordings_that_were_joined_are_to_be_cut_where_no_method_repairs_them(tmp_path: Path):
    src = made(tmp_path / "in.mp4", drifting, *X264, "-c:a", "aac")
    values = {"jumps": 1, "at_s": [4.0], "stray": 0, "cut_at_bytes": [1024], "in_place": True}
    joined = replace(JUMP, reasons=(Reason("clock-jumps", values),))
    with pytest.raises(CannotTell, match=r"written \(cut it after byte 1024 and repair each part\)"):
        fix.fix_offset(src, tmp_path / "out.mp4", FixOptions(), measure=lambda _path: joined)


def test_a_result_that_is_not_better_is_not_kept(tmp_path: Path):
    src = made(tmp_path / "in.mp4", jumping, *X264, "-c:a", "aac")
    with pytest.raises(CannotTell, match="Measured again"):
        repair(src, tmp_path / "out.mp4", JUMP, after=JUMP)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_in_tolerance_or_without_an_answer_nothing_is_written(tmp_path: Path):
    src = made(tmp_path / "in.mp4", jumping, *X264, "-c:a", "aac")
    assert not repair(src, tmp_path / "out.mp4", GOOD).written
    with pytest.raises(CannotTell):
        repair(src, tmp_path / "out.mp4", Report("in", "cannot-tell", reasons=said("no face")))
    with pytest.raises(UsageError, match="--offset-ms"):
        repair(src, tmp_path / "out.mp4", JUMP, offset_ms=120.0)
    dry = repair(src, tmp_path / "out.mp4", JUMP, dry_run=True)
    assert not dry.written
    assert "re-encoded" in dry.sentence
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_stop_while_encoding_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    src = made(tmp_path / "in.mp4", jumping, *X264, "-c:a", "aac")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def stop(*_step: object) -> None:
        raise KeyboardInterrupt

    options = FixOptions(method="retime")
    with pytest.raises(KeyboardInterrupt):
        fix.fix_offset(src, tmp_path / "out.mp4", options, measure=lambda _path: JUMP, progress=stop)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in.mp4", "scratch"]


@pytest.mark.parametrize(
    ("offset_ms", "said"), [(240.0, "delayed by 240 ms"), (-240.0, "advanced by 240 ms")]
)
def test_a_single_offset_is_described_without_a_sign(offset_ms: float, said: str):
    assert retime_words(Report("in.mp4", "out-of-sync", offset_ms)) == said
