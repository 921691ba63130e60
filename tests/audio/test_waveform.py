"""Audio lands on the same clock as the video, keeps the voice, and becomes the models' mel."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.signal
import seeded
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from media_factory import MPEG2, X264, bar_and_click, bar_clip, bar_time, click, ffmpeg
from seeded import REFERENCE

from avsync.audio import steady
from avsync.audio import waveform as waveform_module
from avsync.audio.mel import log_mel, mel_filters, mel_span
from avsync.audio.waveform import audio_condition, load_audio, mfcc, mix, resampled, waveform
from avsync.core.errors import MediaError, OutputError, UsageError
from avsync.core.records import Waveform
from avsync.core.report import Reason
from avsync.media.frames import frames
from avsync.media.probe import probe

H264 = (*X264, "-bf", "2")
VP8 = ("-c:v", "libvpx", "-b:v", "2M")


def click_time(audio: Waveform) -> float:
    loud = np.abs(audio.samples)
    return audio.start_s + float(np.argmax(loud > 0.2 * loud.max())) / 16000


def tone_level(samples: np.ndarray, hz: float) -> float:
    """Amplitude of one frequency."""
    phase = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / 16000)
    return float(2 * abs(np.mean(samples * phase)))


def audio_file(path: Path, lavfi: str, *args: object) -> Path:
    ffmpeg("-f", "lavfi", "-i", lavfi, *args, path)
    return path


class TestOneClockWithTheVideo:
    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("a.mp4", (*H264, "-c:a", "aac")),
            ("mp3.mp4", (*H264, "-c:a", "libmp3lame")),
            ("opus.mkv", (*H264, "-c:a", "libopus")),
            ("flac.mkv", (*H264, "-c:a", "flac")),
            ("a.mov", (*H264, "-c:a", "pcm_s16le")),
            ("fragments.mp4", (*H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+delay_moov")),
            ("a.webm", (*VP8, "-c:a", "libvorbis")),
            ("a.ts", (*H264, "-c:a", "aac")),
            ("mp2.ts", (*H264, "-c:a", "mp2")),
            ("a.mpg", (*MPEG2, "-bf", "2", "-c:a", "mp2")),
            ("a.flv", (*H264, "-c:a", "aac")),
        ],
    )
    @pytest.mark.parametrize(
        ("video_late", "audio_late"),
        [
            (0.2, 0.6),
            pytest.param(0.0, 0.0, marks=pytest.mark.slow),
            pytest.param(0.48, 0.0, marks=pytest.mark.slow),
        ],
    )
    def test_starts_count_in_every_container(self, tmp_path, name, codec, video_late, audio_late):
        path = bar_and_click(tmp_path / name, video_delay_s=video_late, audio_delay_s=audio_late, codec=codec)
        found = probe(path)
        decoded = list(frames(found, long_side=320))[2:-2]
        video_late_s = -float(np.median([bar_time(f.image) - f.time_s for f in decoded]))
        audio_late_s = click_time(waveform(found)) - 1.5
        assert audio_late_s - video_late_s == pytest.approx(audio_late - video_late, abs=0.003)

    def test_an_edit_list_cuts_audio_and_video_alike(self, tmp_path):
        whole = bar_and_click(tmp_path / "whole.mp4")
        ffmpeg("-ss", "0.88", "-i", whole, "-c", "copy", tmp_path / "cut.mp4")
        assert click_time(waveform(probe(tmp_path / "cut.mp4"))) == pytest.approx(1.5 - 0.88, abs=0.002)

    @pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 96000])
    def test_every_sample_rate(self, tmp_path, rate):
        path = audio_file(tmp_path / "a.mkv", click(rate=rate), "-c:a", "flac")
        audio = waveform(probe(path))
        assert len(audio.samples) == pytest.approx(4 * 16000, abs=100)
        assert click_time(audio) == pytest.approx(1.5, abs=0.001)

    def test_a_hole_in_the_timeline_is_silence(self, tmp_path):
        hole = "aselect='not(between(t,0.5,1.1))'"
        path = audio_file(tmp_path / "a.mkv", click(), "-af", hole, "-c:a", "flac")
        audio = waveform(probe(path))
        assert click_time(audio) == pytest.approx(1.5, abs=steady.SLIP_S)
        assert len(audio.samples) == pytest.approx(4 * 16000, abs=500)

    def test_a_change_of_channels_in_mid_stream_moves_nothing(self, tmp_path):
        parts = []
        for number, layout in enumerate(["stereo", "mono"]):
            part = tmp_path / f"{number}.ts"
            trim = f"atrim={2 * number}:{2 * number + 2}"
            source = click(at_s=2.5, layout=layout)
            audio_file(part, source, "-af", trim, "-copyts", "-muxdelay", 0, "-c:a", "mp2")
            parts.append(part.read_bytes())
        (tmp_path / "both.ts").write_bytes(b"".join(parts))
        audio = waveform(probe(tmp_path / "both.ts"))
        assert len(audio.samples) == pytest.approx(4 * 16000, abs=2000)
        assert click_time(audio) == pytest.approx(2.5, abs=0.03)


class TestChannels:
    def test_dialogue_in_the_centre_stays_above_the_music_around_it(self, tmp_path):
        tones = "0.1*sin(2*PI*{}*t)"
        around, voice, bass = (tones.format(hz) for hz in (500, 1000, 60))
        path = audio_file(
            tmp_path / "a.mkv",
            f"aevalsrc='{around}|{around}|{voice}|{bass}|{around}|{around}':c=5.1:s=48000:d=2",
            *("-c:a", "flac"),
        )
        samples = waveform(probe(path)).samples
        assert tone_level(samples, 1000) > 0.09
        assert tone_level(samples, 1000) >= 0.9 * tone_level(samples, 500)
        assert tone_level(samples, 60) < 0.001

    @pytest.mark.parametrize(
        ("right", "expected"),
        [
            ("0", 0.1),
            ("0.2*sin(2*PI*440*t)", 0.2),
            ("-0.2*sin(2*PI*440*t)", 0.2),
            ("-0.19*sin(2*PI*440*t)", 0.2),
        ],
        ids=["one side silent", "both alike", "inverted", "nearly inverted"],
    )
    def test_stereo_never_cancels(self, tmp_path, right, expected):
        path = audio_file(tmp_path / "a.wav", f"aevalsrc='0.2*sin(2*PI*440*t)|{right}':c=stereo:s=16000:d=2")
        for audio in (waveform(probe(path)), load_audio(path)):
            assert tone_level(audio.samples, 440) == pytest.approx(expected, rel=0.02)

    def test_inverted_channels_join_without_clicks(self):
        tone = np.sin(np.arange(32000) * 0.1).astype(np.float32)
        block = np.stack([tone, -tone], axis=1)
        halves = [mix(block[:16000], louder=0), mix(block[16000:], louder=0)]
        assert np.array_equal(np.concatenate(halves), tone)

    def test_more_than_eight_channels_give_the_first_pair(self, tmp_path):
        others = "|".join(["0.3*sin(2*PI*3000*t)"] * 10)
        voice = "0.2*sin(2*PI*440*t)"
        path = audio_file(
            tmp_path / "a.wav", f"aevalsrc='{voice}|{voice}|{others}':s=16000:d=1", "-c:a", "pcm_s16le"
        )
        samples = waveform(probe(path)).samples
        assert tone_level(samples, 440) == pytest.approx(0.2, rel=0.02)
        assert tone_level(samples, 3000) < 0.001

    @pytest.mark.parametrize("name", ["a.mkv", "a.mxf", "a.nut"])
    @pytest.mark.parametrize(
        ("channels", "voiced", "gain"),
        [(3, 2, 1.414), (4, 0, 0.5), (5, 2, 1.414), (6, 2, 1.414), (7, 2, 1.414), (8, 2, 1.414), (6, 0, 0.5)],
    )
    def test_channels_without_names_are_taken_for_the_usual_ones(
        self, tmp_path, name, channels, voiced, gain
    ):
        """Dialogue is in the centre; of four channels, two are another mix."""
        silence = ["0"] * channels
        silence[voiced] = "0.2*sin(2*PI*440*t)"
        video = ("-f", "lavfi", "-i", "color=s=64x48:r=25:d=1", "-c:v", "mpeg2video")
        pcm = ("-c:a", "pcm_s24le" if name != "a.nut" else "pcm_s16le")
        source = f"aevalsrc='{'|'.join(silence)}':s=48000:d=1"
        path = audio_file(tmp_path / name, source, *video, *pcm)
        with av.open(str(path)) as file:
            names = {channel.name for channel in file.streams.audio[0].layout.channels}
        assert names == {"NONE"}
        level = tone_level(waveform(probe(path)).samples, 440)
        assert level == pytest.approx(0.2 * gain, rel=0.02)

    @pytest.mark.parametrize(
        ("channels", "name", "codec"),
        [
            (8, "a.m4a", ("-c:a", "aac", "-channel_layout", "7.1")),
            (16, "a.mkv", ("-c:a", "libopus", "-mapping_family", "255")),
            (2, "a.wav", ("-c:a", "pcm_s64le")),
        ],
    )
    def test_channels_that_lie_apart_are_each_their_own(self, tmp_path, channels, name, codec):
        voice = "0.2*sin(2*PI*440*t)"
        path = audio_file(tmp_path / name, f"aevalsrc='{'|'.join([voice] * channels)}':s=48000:d=1", *codec)
        frame = next(av.open(str(path)).decode(audio=0))
        values = waveform_module._channels(frame)
        assert values.shape == (frame.samples, channels)
        assert np.isfinite(values).all() and np.abs(values).max() < 0.5

    def test_tracks_are_chosen_by_number_or_by_default(self, tmp_path):
        sines = [x for hz in (300, 700) for x in ("-f", "lavfi", "-i", f"sine={hz}:d=1")]
        maps = ("-map", 0, "-map", 1, "-map", 2, "-disposition:a:0", 0, "-disposition:a:1", "default")
        path = bar_clip(tmp_path / "a.mkv", *maps, seconds=1, inputs=sines, codec=(*X264, "-c:a", "flac"))
        found = probe(path)
        assert tone_level(waveform(found, 0).samples, 300) > 0.1
        assert tone_level(waveform(found, 1).samples, 700) > 0.1
        assert tone_level(waveform(found).samples, 700) > 0.1
        with pytest.raises(UsageError, match="no audio track 2; it has 2, numbered from 0"):
            waveform(found, 2)

    def test_a_silent_film(self, tmp_path):
        with pytest.raises(MediaError, match="has no audio track"):
            waveform(probe(bar_clip(tmp_path / "a.mp4", seconds=0.4)))


class TestSeparateFile:
    @pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.mka"])
    def test_any_audio_file(self, tmp_path, name):
        path = audio_file(tmp_path / name, click(rate=44100), *(("-c:a", "flac") if name == "a.mka" else ()))
        audio = load_audio(path)
        assert click_time(audio) == pytest.approx(1.5, abs=0.002)
        assert len(audio.samples) == pytest.approx(64000, abs=800)

    def test_samples_that_are_not_numbers_become_silence(self, tmp_path):
        samples = 0.5 * np.sin(np.arange(32000) * 0.1).astype(np.float32)
        samples[100:110] = np.nan
        samples[200] = np.inf
        soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
        for audio in (load_audio(tmp_path / "a.wav"), waveform(probe(tmp_path / "a.wav"))):
            assert np.isfinite(audio.samples).all()
            assert audio.damaged == 11
            assert audio_condition(audio)[0] == Reason("not-numbers", {"values": 11})

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("a.wav", b"RIFF\0\0\0\0WAVE", "a.wav"),
            ("a.txt", b"words " * 100, "a.txt"),
            ("b.wav", b"", "is empty"),
        ],
    )
    def test_no_audio_file(self, tmp_path, name, content, said):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=said):
            load_audio(tmp_path / name)

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "a.wav")
        with pytest.raises(MediaError, match="not a regular file"):
            load_audio(tmp_path / "a.wav")

    @pytest.mark.parametrize("name", ["a.wav", "a.m4a"])
    def test_no_more_is_read_than_is_asked_for(self, tmp_path, name):
        path = audio_file(tmp_path / name, click(seconds=30.0))
        audio = load_audio(path, (-math.inf, 5.0))
        assert click_time(audio) == pytest.approx(1.5, abs=0.002)
        assert 5.0 <= len(audio.samples) / 16000 < 7.0

    def test_missing(self, tmp_path):
        with pytest.raises(MediaError, match="does not exist"):
            load_audio(tmp_path / "none.wav")

    @settings(max_examples=15, deadline=None)
    @given(
        rate=st.sampled_from([8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000]),
        length=st.integers(0, 60000),
        block=st.integers(1000, 50000),
    )
    def test_blocks_resample_as_the_whole_does(self, rate, length, block):
        whole = np.random.default_rng(length).standard_normal(length).astype(np.float32)
        blocks = (whole[i : i + block] for i in range(0, length, block))
        pieces = [np.zeros(0, np.float32), *resampled(blocks, rate)]
        expected = whole if rate == 16000 else soxr.resample(whole, rate, 16000)
        assert abs(sum(map(len, pieces)) - length * 16000 / rate) <= 1
        np.testing.assert_allclose(np.concatenate(pieces)[: len(expected)], expected, atol=1e-4)


class TestStorage:
    def test_samples_lie_on_disk_and_leave_nothing_behind(self, tmp_path, monkeypatch):
        path = audio_file(tmp_path / "a.wav", click())
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        audio = waveform(probe(path))
        assert isinstance(audio.samples, np.memmap)
        assert audio.samples.dtype == np.float32
        del audio
        assert list(scratch.iterdir()) == []

    def test_a_full_disk_is_one_sentence(self, tmp_path, monkeypatch):
        def full(**_):
            raise OSError(28, "No space left on device")

        path = audio_file(tmp_path / "a.wav", click())
        monkeypatch.setattr(waveform_module.tempfile, "TemporaryFile", full)
        with pytest.raises(OutputError, match=r"Could not store the decoded audio .*No space.*; free some"):
            load_audio(path)


class TestCondition:
    def test_speech_level_is_fine(self):
        noise = np.random.default_rng(0).standard_normal(160000).astype(np.float32)
        assert audio_condition(Waveform(noise / np.abs(noise).max(), 0.0)) == ()

    def test_silence(self):
        quiet = np.full(16000, 1e-5, np.float32)
        assert audio_condition(Waveform(quiet, 0.0)) == (Reason("silent-audio"),)
        assert audio_condition(Waveform(quiet[:0], 0.0)) == (Reason("empty-audio"),)

    def test_clipping_survives_resampling(self, tmp_path):
        noise = np.random.default_rng(0).standard_normal(96000)
        voice = scipy.signal.sosfilt(scipy.signal.butter(4, 3000, fs=48000, output="sos"), noise)
        soundfile.write(tmp_path / "a.wav", np.clip(voice * 12, -1, 1), 48000)
        assert audio_condition(load_audio(tmp_path / "a.wav")) == (Reason("clipped-audio"),)


class TestMel:
    def test_meets_the_reference(self):
        expected = np.load(REFERENCE / "mel_seed11.npz")["mel"]
        mel = log_mel(seeded.waveform())
        assert mel.dtype == np.float32
        np.testing.assert_allclose(mel, expected, rtol=1e-4, atol=2e-5)

    def test_bands_have_unit_area_and_peak_in_order(self):
        bands = mel_filters()
        assert bands.shape == (80, 401)
        peaks = bands[20:].argmax(axis=1)
        assert (np.diff(peaks) > 0).all()
        np.testing.assert_allclose(bands[40:].sum(axis=1) * 20, 1, atol=0.05)

    def test_silence_and_full_scale(self):
        assert (log_mel(np.zeros(1600, np.float32)) == -4).all()
        assert log_mel(np.sin(np.arange(16000) * 2 * np.pi / 16).astype(np.float32)).max() > 2

    @pytest.mark.parametrize("length", [0, 1, 2, 199, 200, 400, 401, 2000])
    def test_any_length(self, length):
        mel = log_mel(np.full(length, 0.1, np.float32))
        assert mel.shape == (80, length // 200 + 1)
        assert np.isfinite(mel).all()

    def test_blocks_leave_no_seam(self, monkeypatch):
        samples = np.random.default_rng(0).standard_normal(20000).astype(np.float32)
        whole = log_mel(samples)
        monkeypatch.setattr("avsync.audio.mel.BLOCK_COLUMNS", 7)
        np.testing.assert_allclose(log_mel(samples), whole, atol=1e-5)

    @settings(max_examples=25, deadline=None)
    @given(
        first=st.integers(-150, 150),
        columns=st.integers(0, 200),
        length=st.integers(0, 20000),
        start=st.sampled_from([0.0, -0.021333, 5.48, 3600.0]),
    )
    def test_a_span_is_a_part_of_the_whole(self, first, columns, length, start):
        samples = np.random.default_rng(7).uniform(-0.5, 0.5, length).astype(np.float32)
        whole = log_mel(samples)
        span = mel_span(Waveform(samples, start), start + first / 80, columns)
        assert span.shape == (80, columns)
        for c in range(columns):
            inside = 0 <= first + c < whole.shape[1] and length > 0
            expected = whole[:, first + c] if inside else np.full(80, -4.0)
            np.testing.assert_allclose(span[:, c], expected, atol=1e-5)

    def test_a_span_may_start_between_the_columns(self):
        samples = np.zeros(16000, np.float32)
        samples[8100] = 0.9
        span = mel_span(Waveform(samples, 2.0), 2.0 + 8100 / 16000 - 0.125, 21)
        energy = span.mean(axis=0)
        assert energy.argmax() == 10
        np.testing.assert_allclose(energy[8:10], energy[12:10:-1], atol=1e-4)


class TestMfcc:
    def test_meets_the_reference(self):
        expected = np.load(REFERENCE / "syncnet_seed11.npz")["mfcc"]
        np.testing.assert_allclose(mfcc(seeded.waveform()), expected, rtol=1e-4, atol=1e-5)

    def test_loud_samples_do_not_wrap_around(self):
        loud = 1.5 * np.sin(np.arange(16000) * 0.3).astype(np.float32)
        np.testing.assert_array_equal(mfcc(loud), mfcc(np.clip(loud, -1, 1)))


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read from /proc of Linux")
def test_audio_on_disk_stays_there_however_long_it_is(tmp_path: Path):
    def mapped_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[2]) * os.sysconf("SC_PAGESIZE") / 1e6

    minute = np.random.default_rng(0).normal(0, 0.1, 60 * 16000).astype(np.float32)
    with (tmp_path / "audio").open("wb") as file:
        for _ in range(30):
            file.write(minute.tobytes())
    audio = Waveform(np.memmap(tmp_path / "audio", np.float32, "r"), 0.0)
    before = mapped_mb()
    audio_condition(audio)
    for second in range(0, 1800, 10):
        mel_span(audio, float(second), 800)
    assert mapped_mb() - before < 20  # of 115
