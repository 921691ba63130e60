"""One file through all stages: made stages tell the order, real ones are in test_cli and test_bad_input."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import avsync
from avsync.audio import vad, waveform
from avsync.core.errors import Interrupted, MediaError, ModelError, UsageError
from avsync.core.records import (
    AudioStream,
    Clip,
    FaceTrack,
    Gap,
    Media,
    Offset,
    Reason,
    Report,
    Scores,
    Span,
    Unjudged,
    VideoStream,
    Waveform,
)
from avsync.faces import follow, motion
from avsync.pipeline import run, stretch

SECONDS = 20


@dataclass
class World:
    """What the faked stages find, and what was asked of them."""

    media: Media
    sound: Waveform
    tracks: tuple[FaceTrack, ...]
    offset_ms: float = 120.0
    speech: np.ndarray = field(default_factory=lambda: np.ones(SECONDS * 31, np.float32))
    motion: float = 5.0
    calibration: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    models_loaded: int = 0
    listeners: tuple[int, ...] = (1,)
    """Numbers of the faces whose lips fit no offset."""
    looked: list[tuple[float | None, float | None]] = field(default_factory=list)
    """The stretches that faces were looked for in, None for an end of the video."""
    lost: tuple[Span, ...] = ()
    """Stretches whose picture cannot be decoded."""


def a_track(number: int = 0, seconds: float = SECONDS, start_s: float = 0.0) -> FaceTrack:
    n = round(seconds * 25)
    boxes = np.tile(np.array([[0.3, 0.3, 0.6, 0.7]], np.float32), (n, 1))
    return FaceTrack(number, 0, start_s, boxes, np.ones(n, bool), 0.9)


def a_media(path: str = "talk.mp4", fps: int = 25, sound: bool = True, picture: bool = True) -> Media:
    video = VideoStream(0, "h264", 640, 360, Fraction(fps), 0.0, SECONDS) if picture else None
    track = AudioStream(1, 0, "aac", 48_000, 2, 0.0, SECONDS, default=True)
    return Media(Path(path), "mov,mp4", SECONDS, video, (track,) if sound else (), ("video", "audio"))


def made_scores(track: int, times_s: np.ndarray, offset_ms: float, height: float, max_shift: int) -> Scores:
    """Windows whose logits peak at the offset, with noise, which is larger where lips say something else."""
    shifts = np.arange(-max_shift, max_shift + 1)
    noise = np.random.default_rng(track).normal(0, 1 if height else 3, (len(times_s), len(shifts)))
    peak = height * np.exp(-0.5 * (shifts + offset_ms / 40) ** 2)
    return Scores(track, times_s, shifts, (peak + noise).astype(np.float32))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    sound = np.random.default_rng(0).normal(0, 0.1, SECONDS * 16_000).astype(np.float32)
    world = World(a_media(), Waveform(sound, 0.0), (a_track(),))

    def load(name: str, device: str) -> SimpleNamespace:
        world.models_loaded += 1
        if name == "nope":
            raise ModelError('There is no model called "nope".')
        model = SimpleNamespace(crop="mouth", embeds=name == "embeddings")
        cpu = SimpleNamespace(type="cpu")
        return SimpleNamespace(name=name, calibration=world.calibration, model=model, device=cpu)

    def score(_loaded: Any, clips: Any, _sound: Waveform, *, max_shift: int, stride: int):
        world.asked |= {"max_shift": max_shift, "stride": stride}
        scores = []
        for clip in clips:
            times = clip.start_s + np.arange(0, len(clip.mouths) - 4, stride) / 25
            height = 0.0 if clip.track in world.listeners else 6.0
            scores.append(made_scores(clip.track, times, world.offset_ms, height, max_shift))
        return scores

    def face_clips(
        _media: Media,
        found: Any,
        *,
        detector: str,
        first_number: int,
        piece_frames: int,
        progress: Any,
        start_s: float | None,
        end_s: float | None,
        on_gap: Any,
    ) -> Iterator[Clip]:
        world.asked["detector"] = detector
        for first_s, past_s in world.lost:
            on_gap(Gap(first_s, past_s, damaged=True))
        world.looked.append((start_s, end_s))
        progress(0.5)
        tracks = world.tracks
        if tracks and (start_s is not None or end_s is not None):
            first = start_s or 0.0
            tracks = (a_track(0, (end_s or world.media.duration_s) - first, first),)
        try:
            for track in tracks:
                number = first_number + track.track
                yield Clip(number, track.start_s, np.zeros((len(track.boxes), 48, 96, 3), np.uint8))
        finally:
            for track in tracks:
                number = first_number + track.track
                found(replace(track, track=number), np.zeros((96, 96, 3), np.uint8))

    monkeypatch.setattr("avsync.media.probe.probe", lambda path: replace(world.media, path=Path(path)))
    monkeypatch.setattr(waveform, "waveform", lambda *_track: world.sound)
    monkeypatch.setattr(
        waveform, "load_audio", lambda path, _span: world.asked.update(audio=path) or world.sound
    )
    monkeypatch.setattr(follow, "face_clips", face_clips)
    monkeypatch.setattr(vad, "listen", lambda _sound: iter([world.speech]))
    monkeypatch.setattr(motion, "mouth_motion", lambda mouths: np.full(len(mouths) // 2, world.motion))
    monkeypatch.setattr("avsync.networks.checkpoint.load", load)
    monkeypatch.setattr("avsync.networks.fast.fast", lambda loaded: loaded)
    monkeypatch.setattr("avsync.networks.scoring.score_clips", score)
    run.load_model.cache_clear()
    yield world
    run.load_model.cache_clear()


# --- answers ------------------------------------------------------------------------------


def test_an_early_audio_is_found_and_judged(world: World):
    report = avsync.check("talk.mp4")
    assert report.verdict == "out-of-sync"
    assert report.offset_ms == pytest.approx(120, abs=10)
    assert report.path == "talk.mp4"
    assert report.duration_s == SECONDS
    assert report.judged_s == pytest.approx(SECONDS, abs=1.0)


def test_the_standard_decides_what_is_in_tolerance(world: World):
    world.offset_ms = -80.0
    assert avsync.check("talk.mp4", standard="ebu").verdict == "out-of-sync"
    assert avsync.check("talk.mp4", standard="itu").verdict == "in-sync"


def test_a_drift_is_judged_by_its_own_limit(world: World, monkeypatch: pytest.MonkeyPatch):
    found = Offset(
        0.0,
        5.0,
        0.9,
        9.0,
        False,
        np.arange(3),
        np.zeros(3, np.float32),
        drift_ms_per_min=25.0,
        drift_uncertainty_ms_per_min=3.0,
    )
    monkeypatch.setattr("avsync.estimate.offset.pooled", lambda *_: found)
    report = avsync.check("talk.mp4")
    assert (report.verdict, report.drift_ms_per_min, report.max_drift_ms_per_min) == ("out-of-sync", 25, 20)
    assert avsync.check("talk.mp4", max_drift_ms_per_min=30, min_judged=0).verdict == "in-sync"


def test_the_netflix_tolerance_is_one_frame_of_this_video(world: World):
    world.media = a_media(fps=50)
    assert avsync.check("talk.mp4", standard="netflix").tolerance_ms == (20.0, 20.0)


def test_the_verdict_comes_from_the_face_that_speaks(world: World):
    world.tracks = (a_track(1), a_track(0))
    report = avsync.check("talk.mp4")
    assert [track.track for track in report.tracks if track.speaking] == [0]
    assert len(report.tracks) == 2
    assert report.offset_ms == pytest.approx(120, abs=10)


def test_a_wider_search_asks_for_more_offsets(world: World):
    avsync.check("talk.mp4", max_offset_ms=2000)
    assert world.asked["max_shift"] == 50


@pytest.mark.parametrize(("seconds", "stride"), [(16, 1), (32, 2), (1000, 10)])
def test_short_files_are_judged_at_every_frame_and_long_ones_thinner(seconds: int, stride: int, world: World):
    long(world, seconds)
    avsync.check("talk.mp4", sample="exhaustive")
    assert world.asked["stride"] == stride
    avsync.check("talk.mp4", stride=7)
    assert world.asked["stride"] == 7


@pytest.mark.parametrize(("seconds", "stride"), [(400, 1), (800, 2), (36_000, 10)])
def test_a_model_whose_windows_cost_little_judges_minutes_at_every_frame(seconds: int, stride: int):
    embeddings = SimpleNamespace(model=SimpleNamespace(embeds=True))
    assert stretch.auto_stride(seconds, embeddings) == stride  # pyright: ignore[reportArgumentType]


def test_crops_are_cut_while_others_are_scored(world: World, monkeypatch: pytest.MonkeyPatch):
    cutting = Event()

    def clips(_media: Media, found: Any, **_options: Any):
        yield Clip(0, 0.0, np.zeros((50, 48, 96, 3), np.uint8))
        cutting.set()
        yield Clip(0, 2.0, np.zeros((50, 48, 96, 3), np.uint8))
        found(a_track(0, seconds=4.0), np.zeros((96, 96, 3), np.uint8))

    def score(_loaded: Any, clips: Any, *_sound: Any, **_options: Any):
        waited = [cutting.wait(10) for _ in clips]
        assert waited == [True, True], "the second piece is cut before the first is done with"
        return [made_scores(0, np.arange(96) / 25, 0.0, 6.0, 15)]

    monkeypatch.setattr(follow, "face_clips", clips)
    monkeypatch.setattr("avsync.networks.scoring.score_clips", score)
    assert avsync.check("talk.mp4").judged_s > 0


def test_a_separate_audio_file_replaces_the_videos_own(world: World):
    world.media = a_media(sound=False)
    assert avsync.check("talk.mp4", audio="other.wav").verdict == "out-of-sync"
    assert world.asked["audio"] == Path("other.wav")


def test_the_share_of_speech_that_was_judged_is_reported(world: World):
    report = avsync.check("talk.mp4")
    assert (report.speech_s, report.speech_judged_s) == pytest.approx((SECONDS, SECONDS), abs=0.5)
    world.speech[: 310 * 2 // 3] = 0.0
    world.tracks = (a_track(0, seconds=15.0),)
    report = avsync.check("talk.mp4")
    assert report.speech_s == pytest.approx(SECONDS - 6.6, abs=0.3)
    assert report.speech_judged_s == pytest.approx(SECONDS - 6.6 - 5, abs=0.3)


def test_speech_that_goes_on_after_the_picture_counts_neither_as_heard_nor_as_judged(world: World):
    world.speech = np.concatenate([world.speech, np.ones(2 * SECONDS * 31, np.float32)])
    report = avsync.check("talk.mp4", audio="long.wav")
    assert report.speech_s == report.speech_judged_s == pytest.approx(SECONDS, abs=0.1)


def test_moving_lips_that_fit_the_speech_nowhere_are_a_mismatch_and_a_voice_over_is_not(world: World):
    world.tracks = (a_track(1),)
    world.calibration = {"mismatch_level": 0.5}
    dub = avsync.check("dub.mp4")
    assert (dub.verdict, dub.offset_ms, dub.uncertainty_ms) == ("mismatch", None, None)
    world.motion = 0.2
    assert avsync.check("voice-over.mp4").verdict == "cannot-tell"
    world.motion, world.speech[:] = 5.0, 0.0
    music = avsync.check("music.mp4")
    assert (music.verdict, music.reasons[0].kind) == ("cannot-tell", "no-speech")


def kinds(report: Report) -> set[str]:
    return {reason.kind for reason in report.reasons}


def test_a_file_that_changes_meanwhile_is_judged_and_noted(world: World, tmp_path: Path):
    path = tmp_path / "talk.mp4"
    path.touch()
    assert "file-changed" not in kinds(avsync.check(path))

    def written(stage: str, _done: float, _total: float | None) -> None:
        path.write_text(stage)

    report = avsync.check(path, progress=written)
    assert report.verdict == "out-of-sync"
    assert "file-changed" in kinds(report)


def test_what_could_not_be_decoded_is_noted_with_its_times(world: World):
    world.sound = replace(world.sound, undecoded=((4.0, 4.5),))
    world.lost = ((3.0, 3.5), (7.0, 8.0))
    report = avsync.check("talk.mp4")
    assert report.verdict == "out-of-sync"
    assert report.reasons[-2:] == (
        Reason("damaged-video", {"lost_s": 1.5, "start_s": 3.0, "end_s": 8.0}),
        Reason("damaged-audio", {"lost_s": 0.5, "start_s": 4.0, "end_s": 4.5}),
    )


def test_a_lost_picture_or_two_is_not_worth_a_note(world: World):
    world.lost = ((0.0, 0.08),)
    assert "damaged-video" not in kinds(avsync.check("talk.mp4"))


def test_sound_long_after_the_picture_is_neither_read_nor_judged(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    asked: list[float] = []
    monkeypatch.setattr(
        waveform, "waveform", lambda _media, _track, span: asked.append(span[1]) or world.sound
    )
    whole = avsync.check("talk.mp4")
    world.media = replace(world.media, duration_s=14_400.0)
    monkeypatch.setattr("avsync.media.probe.without_tail", lambda media: replace(media, duration_s=SECONDS))
    report = avsync.check("talk.mp4", max_offset_ms=1000)
    assert asked == [math.inf, SECONDS + 2]
    assert (report.verdict, report.offset_ms) == (whole.verdict, pytest.approx(whole.offset_ms, abs=1))
    assert report.looked_at == ((0.0, SECONDS),)
    assert report.reasons[-1] == Reason("no-video-at-end", {"end_s": SECONDS, "duration_s": 14_400.0})
    assert report.unjudged[-1] == Unjudged(SECONDS, 14_400.0, "no-video")
    assert report.judged_s == whole.judged_s
    assert "audio-breaks-off" not in kinds(report)


# --- cannot tell --------------------------------------------------------------------------


def test_no_face_is_an_answer_with_its_reason(world: World):
    world.tracks = ()
    report = avsync.check("talk.mp4")
    assert report.verdict == "cannot-tell"
    assert report.reasons[0].kind == "no-face"
    assert report.offset_ms is None


def test_silence_is_known_before_faces_are_looked_for(world: World):
    world.sound = Waveform(np.zeros(16_000, np.float32), 0.0)
    report = avsync.check("talk.mp4")
    assert report.verdict == "cannot-tell"
    assert report.reasons[0].kind == "silent"
    assert "detector" not in world.asked


def test_a_listener_gives_no_offset_to_trust(world: World):
    world.tracks = (a_track(1),)
    report = avsync.check("talk.mp4")
    assert report.verdict == "cannot-tell"
    assert report.reasons


# --- long files ---------------------------------------------------------------------------


def long(world: World, seconds: float) -> None:
    media = a_media()
    assert media.video is not None
    world.media = replace(media, duration_s=seconds, video=replace(media.video, duration_s=seconds))
    world.listeners = ()


def seconds_of(report: Report) -> float:
    return sum(end - start for start, end in report.looked_at)


def test_a_short_file_is_looked_at_in_one_piece_and_the_report_says_so(world: World):
    report = avsync.check("talk.mp4")
    assert world.looked == [(None, None)]
    assert report.looked_at == ((0.0, SECONDS),)
    assert report.complete


def test_a_long_file_is_looked_at_here_and_there_until_the_answer_is_certain(world: World):
    long(world, 7200)
    report = avsync.check("film.mp4")
    assert report.verdict == "out-of-sync"
    assert report.offset_ms == pytest.approx(120, abs=10)
    assert 0.1 < seconds_of(report) / 7200 < 0.25
    assert report.looked_at[0][0] == 0
    assert report.looked_at[-1][1] == 7200
    assert report.reasons[-1].kind == "sampled"
    assert sum(s.end_s - s.start_s for s in report.unjudged if s.cause == "not-needed") > 5000
    assert [track.track for track in report.tracks] == list(range(len(report.tracks)))
    assert [t.start_s for t in report.tracks] == sorted(t.start_s for t in report.tracks)
    assert all(track.offset for track in report.tracks)


def test_where_the_answer_stays_uncertain_all_is_looked_at_once(world: World):
    long(world, 1800)
    world.offset_ms = 40.0  # the limit itself
    report = avsync.check("film.mp4", standard="ebu")
    assert report.looked_at == ((0.0, 1800.0),)
    assert "sampled" not in kinds(report)
    assert len(world.looked) == len(set(world.looked)) == 90


def test_exhaustive_looks_at_all_of_it_in_order(world: World):
    long(world, 7200)
    report = avsync.check("film.mp4", sample="exhaustive")
    assert report.looked_at == ((0.0, 7200.0),)
    assert world.looked[0] == (None, 300.0)
    assert world.looked[-1] == (6900.0, None)
    assert report.unjudged == ()


def test_no_face_anywhere_is_known_only_when_all_was_looked_at(world: World):
    long(world, 1800)
    world.tracks = ()
    report = avsync.check("film.mp4")
    assert report.verdict == "cannot-tell"
    assert report.reasons[0].kind == "no-face"
    assert report.looked_at == ((0.0, 1800.0),)


# --- Ctrl-C -------------------------------------------------------------------------------


def test_ctrl_c_leaves_what_was_judged_by_then(world: World, monkeypatch: pytest.MonkeyPatch):
    def score(_loaded: Any, clips: Any, _sound: Waveform, *, max_shift: int, stride: int):
        next(iter(clips))
        times = np.arange(0, 8, stride / 25)
        raise Interrupted([made_scores(0, times, world.offset_ms, 6.0, max_shift)])

    monkeypatch.setattr("avsync.networks.scoring.score_clips", score)
    with pytest.raises(KeyboardInterrupt) as stopped:
        avsync.check("talk.mp4")
    assert isinstance(stopped.value, Interrupted)
    report = stopped.value.so_far
    assert (report.complete, report.verdict) == (False, "out-of-sync")
    assert report.offset_ms == pytest.approx(120, abs=15)
    assert report.looked_at == ((0.0, pytest.approx(8.2, abs=0.1)),)
    assert report.unjudged[-1].cause == "stopped"
    assert report.reasons[-1].kind == "stopped"
    assert report.timings_s["scores"] >= 0


def test_ctrl_c_in_a_long_file_leaves_the_stretches_before(world: World, monkeypatch: pytest.MonkeyPatch):
    long(world, 7200)
    looked = follow.face_clips

    def stop_at_the_fifth(*arguments: Any, **options: Any) -> Iterator[Clip]:
        if len(world.looked) == 4:
            raise KeyboardInterrupt
        return looked(*arguments, **options)

    monkeypatch.setattr(follow, "face_clips", stop_at_the_fifth)
    with pytest.raises(Interrupted) as stopped:
        avsync.check("film.mp4", sample="exhaustive")
    report = stopped.value.so_far
    assert report.looked_at == ((0.0, 1200.0),)
    assert (report.complete, report.verdict) == (False, "out-of-sync")


def test_ctrl_c_before_the_first_score_leaves_no_empty_stretch(world: World, monkeypatch: pytest.MonkeyPatch):
    def score(*_arguments: Any, **_options: Any):
        raise Interrupted([])

    monkeypatch.setattr("avsync.networks.scoring.score_clips", score)
    with pytest.raises(Interrupted) as stopped:
        avsync.check("talk.mp4")
    report = stopped.value.so_far
    assert (report.complete, report.looked_at, report.tracks) == (False, (), ())


@pytest.mark.parametrize("stage", ["media.probe.probe", "audio.waveform.waveform"])
def test_ctrl_c_before_anything_was_judged_says_so(stage: str, world: World, monkeypatch: pytest.MonkeyPatch):
    def stop(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"avsync.{stage}", stop)
    with pytest.raises(Interrupted) as stopped:
        avsync.check("talk.mp4")
    report = stopped.value.so_far
    assert (report.complete, report.verdict, report.judged_s) == (False, "cannot-tell", 0.0)
    assert report.reasons[0].kind == "stopped-at-once"


# --- errors -------------------------------------------------------------------------------


def test_a_file_without_picture_is_an_error(world: World):
    world.media = a_media(picture=False)
    with pytest.raises(MediaError, match="no video"):
        avsync.check("song.mp3")


def test_a_model_that_is_missing_is_known_before_the_work(world: World):
    with pytest.raises(ModelError, match="nope"):
        avsync.check("talk.mp4", model="nope")
    assert "detector" not in world.asked


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
        ({"audio_track": 1.5}, "valid integer"),
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


def test_the_model_is_loaded_once(world: World):
    avsync.check("one.mp4")
    avsync.check("two.mp4")
    assert world.models_loaded == 1
    avsync.check("three.mp4", model="other")
    assert world.models_loaded == 2


def test_progress_names_the_stages_in_order_and_never_exceeds_its_total(world: World):
    steps: list[tuple[str, float, float | None]] = []
    avsync.check("talk.mp4", progress=lambda *step: steps.append(step))
    names = list(dict.fromkeys(stage for stage, _, _ in steps))
    assert names == ["probe", "model", "audio", "faces"]
    assert all(total is None or done <= total for _, done, total in steps)


def test_time_is_booked_to_stages_that_add_up(world: World):
    timings = avsync.check("talk.mp4").timings_s
    assert set(timings) == {"probe", "model", "audio", "faces", "scores", "offset", "total"}
    assert sum(timings.values()) - timings["total"] <= timings["total"]
    assert min(timings.values()) >= 0


def test_fixing_measures_with_the_options_given(world: World, monkeypatch: pytest.MonkeyPatch):
    def repair(src: Path, dst: Path, options: Any, *, measure: Any, **_told: Any) -> Any:
        return measure(src)

    monkeypatch.setattr("avsync.repair.fix.fix_offset", repair)
    report = avsync.fix_offset("in.mp4", "out.mp4", standard="itu", max_offset_ms=800)
    assert report.standard == "itu"  # pyright: ignore[reportAttributeAccessIssue]
    assert world.asked["max_shift"] == 20


def test_retiming_needs_every_stretch_of_a_long_file(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "avsync.repair.fix.fix_offset", lambda src, _dst, _options, *, measure, **_told: measure(src)
    )
    long(world, 7200)
    looked = {m: avsync.fix_offset("in.mp4", "out.mp4", method=m) for m in ("copy", "retime")}
    assert seconds_of(looked["copy"]) < 7200  # pyright: ignore[reportArgumentType]
    assert seconds_of(looked["retime"]) == 7200  # pyright: ignore[reportArgumentType]


def test_retiming_looks_at_all_of_a_video_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    monkeypatch.setattr(
        "avsync.repair.fix.fix_offset", lambda _src, _dst, options, **_: asked.append(options)
    )
    avsync.fix_offset("in.mp4", "out.mp4")
    avsync.fix_offset("in.mp4", "out.mp4", method="retime")
    avsync.fix_offset("in.mp4", "out.mp4", method="retime", sample="adaptive")
    assert [options.check.sample for options in asked] == ["auto", "exhaustive", "adaptive"]
