"""A shift is what was asked for, to half a millisecond, in every pair of codec and container; as a player
decodes it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from clap_factory import H264, MPEG4, PAIRS, clap, lag_ms
from fix_factory import names, one_sentence, run_ffmpeg, shift

from avsync.audio.waveform import waveform
from avsync.core.errors import MediaError, UsageError
from avsync.core.timecode import timebase, timecode_at
from avsync.media.decode import Damage, decoded
from avsync.media.frames import frames
from avsync.media.probe import probe
from avsync.repair import labels, packets

TOLERANCE_MS = 0.5
READ_MS = 3.0
"""How exactly a click is found as the largest of 16,000 samples a second."""


def other_ffmpeg() -> str:
    """An ffmpeg of another version than the one that avsync carries; skips where there is none."""
    for program in (os.environ.get("AVSYNC_OTHER_FFMPEG"), "ffmpeg", "/opt/ffmpeg51/bin/ffmpeg"):
        if program and (found := shutil.which(program)):
            return found
    pytest.skip("no second ffmpeg on this machine")


OFTEN = (
    "h264-aac.mp4",
    "h264-pcm_s16le.mov",
    "h264-opus.mkv",
    "vp9-vorbis.webm",
    "h264-ac3.ts",
    "mpeg4-mp3.avi",
)
"""Pairs that are tried on every run; the others are slow."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in PAIRS]
)
def test_the_shift_is_what_was_asked_for(tmp_path: Path, name: str) -> None:
    src = clap(tmp_path / name, *PAIRS[name])
    before = lag_ms(src)
    dst = tmp_path / ("out.mkv" if src.suffix == ".avi" else f"out{src.suffix}")
    for offset_ms in (100.0, -87.0):
        shift(src, dst, offset_ms, force=True)
        assert lag_ms(dst) - before == pytest.approx(offset_ms, abs=TOLERANCE_MS)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_what_another_ffmpeg_made_is_read_and_shifted_alike(tmp_path: Path, name: str) -> None:
    """The second version of the codec matrix: Debian's, as a rule."""
    program = other_ffmpeg()
    try:
        src = clap(tmp_path / name, *PAIRS[name], program=program)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{program} does not write it: {error.stderr[-200:]!r}")
    before = lag_ms(src)
    media = probe(src)
    flash_s = next(frame.time_s for frame in frames(media) if frame.image.mean() > 128)
    audio = waveform(media)
    click_s = audio.start_s + float(np.argmax(np.abs(audio.samples))) / 16_000
    assert (click_s - flash_s) * 1000 == pytest.approx(before, abs=READ_MS)
    dst = tmp_path / ("out.mkv" if src.suffix == ".avi" else f"out{src.suffix}")
    shift(src, dst, 100.0, force=True)
    assert lag_ms(dst) - before == pytest.approx(100.0, abs=TOLERANCE_MS)


@pytest.mark.parametrize("name", ["vp9-opus.webm", "h264-mp2.mp4", "h264-pcm_s16le.mov", "mpeg4-mp3.avi"])
def test_matroska_takes_it_too(tmp_path: Path, name: str) -> None:
    src, dst = clap(tmp_path / name, *PAIRS[name]), tmp_path / "out.mkv"
    shift(src, dst, -87.0)
    assert lag_ms(dst) - lag_ms(src) == pytest.approx(-87.0, abs=TOLERANCE_MS)


PCM = ("pcm_s24le", "pcm_s16le", "pcm_s16be", "pcm_f32le", "pcm_mulaw")


@pytest.mark.parametrize("codec", [PCM[0], *(pytest.param(name, marks=pytest.mark.slow) for name in PCM[1:])])
def test_pcm_is_the_same_however_it_is_cut(tmp_path: Path, codec: str) -> None:
    """Demuxers cut PCM as they like, and anew in a copy; the joined samples count."""
    src, dst = clap(tmp_path / "in.mov", *H264, "-c:a", codec), tmp_path / "out.mov"
    shift(src, dst, -123.0)
    assert lag_ms(dst) - lag_ms(src) == pytest.approx(-123.0, abs=TOLERANCE_MS)
    old, new = (packets.read_packets(packets.contents(path))[1] for path in (src, dst))
    assert (old.digest, old.count) == (new.digest, new.count)


def test_pcm_that_lost_a_sample_or_moved_inside_is_not_a_true_copy(tmp_path: Path) -> None:
    src = clap(tmp_path / "in.mov", *H264, "-c:a", "pcm_s16le")
    run_ffmpeg(
        "-i", src, "-c", "copy", "-af", "atrim=start_sample=1", "-c:a", "pcm_s16le", tmp_path / "cut.mov"
    )
    gap = "setts=ts=if(gt(N\\,40)\\,TS+4800\\,TS)"
    run_ffmpeg("-i", src, "-c", "copy", "-bsf:a", gap, tmp_path / "gap.mkv")
    old, cut, gap = (
        packets.read_packets(packets.contents(tmp_path / name)) for name in ("in.mov", "cut.mov", "gap.mkv")
    )
    with pytest.raises(packets.DifferentError, match="other packets"):
        packets.pair(old, cut)
    with pytest.raises(packets.DifferentError, match="not all moved alike"):
        packets.moved_by(old[1], gap[1])


def test_mxf_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    src = clap(tmp_path / "in.mxf", "-c:v", "mpeg2video", "-c:a", "pcm_s16le")
    with pytest.raises(UsageError, match=r"ends in \.mkv") as error:
        shift(src, tmp_path / "out.mxf", 100.0)
    one_sentence(error)
    shift(src, tmp_path / "out.mkv", 100.0)
    assert lag_ms(tmp_path / "out.mkv") - lag_ms(src) == pytest.approx(100.0, abs=TOLERANCE_MS)
    assert names(tmp_path) == ["in.mxf", "out.mkv"]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("h264-aac.mp4", "out.ts"),
        ("h264-aac.ts", "out.mp4"),
        pytest.param("h264-aac.ts", "out.mkv", marks=pytest.mark.slow),
        pytest.param("h264-mp3.avi", "out.mkv", marks=pytest.mark.slow),
        pytest.param("h264-mp3.avi", "out.mp4", marks=pytest.mark.slow),
        pytest.param("hevc-aac.mp4", "out.mkv", marks=pytest.mark.slow),
    ],
)
def test_containers_may_frame_the_same_frames_and_audio_otherwise(
    tmp_path: Path, name: str, target: str
) -> None:
    """Start codes or lengths, a header for each frame of AAC or one for all: what is decoded is the same."""
    src, dst = clap(tmp_path / name, *PAIRS[name]), tmp_path / target
    shift(src, dst, -87.0)
    assert lag_ms(dst) - lag_ms(src) == pytest.approx(-87.0, abs=TOLERANCE_MS)
    assert video_packets(dst) == video_packets(src)


def video_packets(path: Path) -> str:
    """A digest of all frames as decoded."""
    digest = hashlib.sha256()
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            digest.update(frame.to_ndarray().tobytes())
    return digest.hexdigest()


def test_advice_is_tried_before_it_is_given(tmp_path: Path) -> None:
    src = clap(tmp_path / "in.mp4", *PAIRS["h264-aac.mp4"])
    with pytest.raises(MediaError, match=r"Only VP8.*choose a target that ends in \.mp4") as error:
        shift(src, tmp_path / "out.webm", 100.0)
    one_sentence(error)
    assert names(tmp_path) == ["in.mp4"]


# --- Where the demuxer's times are not those of the frames ------------------------------------

TEN_A_SECOND = (
    "-vf",
    "fps=10",
    "-c:v",
    "libx264",
    "-bf",
    "0",
    "-g",
    "300",
    "-pix_fmt",
    "yuv420p",
    "-c:a",
    "aac",
)
FRAGMENTS = "frag_keyframe+delay_moov+negative_cts_offsets"
EDGE_MS = 1000 / 16_000
"""Audio is read at 16,000 samples a second here."""


def seen_and_heard_ms(path: Path) -> float:
    """Click less flash as avsync reads them."""
    media = probe(path)
    assert media.video is not None
    shown = decoded(media, media.video.index, Damage())
    flash_s = next(time_s for time_s, _, frame in shown if frame.to_ndarray(format="gray").mean() > 100)
    audio = waveform(media)
    return 1000 * (audio.start_s + float(np.argmax(np.abs(audio.samples))) / 16_000 - flash_s)


@pytest.mark.parametrize("offset_ms", [120.0, pytest.param(-87.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("codecs", "remade", "target"),
    [
        pytest.param((*H264, "-c:a", "aac"), ("-movflags", FRAGMENTS), "out.mkv", id="offsets below zero"),
        pytest.param(
            (*H264, "-c:a", "aac"), ("-movflags", FRAGMENTS), "out.mp4", marks=pytest.mark.slow, id="in mp4"
        ),
        pytest.param(
            (*H264, "-c:a", "aac"), ("-movflags", "frag_every_frame+delay_moov"), "out.mp4", id="a frame each"
        ),
    ],
)
def test_fragments_are_shifted_from_where_they_are_shown(
    tmp_path: Path, codecs: tuple[str, ...], remade: tuple[str, ...], target: str, offset_ms: float
) -> None:
    src, dst = tmp_path / "in.mp4", tmp_path / target
    run_ffmpeg("-i", clap(tmp_path / "whole.mp4", *codecs), "-c", "copy", *remade, src)
    before = seen_and_heard_ms(src)
    assert before == pytest.approx(0, abs=READ_MS)
    shift(src, dst, offset_ms)
    assert seen_and_heard_ms(dst) - before == pytest.approx(offset_ms, abs=TOLERANCE_MS + EDGE_MS)


@pytest.mark.parametrize("name", ["cut.mp4", pytest.param("cut.mov", marks=pytest.mark.slow)])
def test_a_cut_inside_a_frame_is_shifted_by_what_was_asked_for(tmp_path: Path, name: str) -> None:
    src, dst = tmp_path / name, tmp_path / f"out{Path(name).suffix}"
    run_ffmpeg("-ss", "1.01", "-i", clap(tmp_path / "whole.mp4", *TEN_A_SECOND), "-c", "copy", src)
    before = seen_and_heard_ms(src)
    shift(src, dst, 120.0)
    assert seen_and_heard_ms(dst) - before == pytest.approx(120, abs=TOLERANCE_MS + EDGE_MS)


# --- Time code ---------------------------------------------------------------------------

TIME_CODE = ("-timecode", "01:02:03:04", "-metadata:s:v", "reel_name=A001C002")


@pytest.mark.parametrize("offset_ms", [120.0, -87.0])
def test_a_time_code_track_stays_with_the_video_and_keeps_its_reel(tmp_path: Path, offset_ms: float) -> None:
    src, dst, again = (
        clap(tmp_path / "in.mov", *H264, "-c:a", "aac", *TIME_CODE),
        *(tmp_path / name for name in ("out.mov", "again.mov")),
    )
    assert "cannot keep" not in shift(src, dst, offset_ms).sentence
    shift(dst, again, offset_ms)
    for path in (src, dst, again):
        streams = packets.contents(path).streams
        video, code = streams[0], next(s for s in streams if s.time_code)
        assert code.tags["timecode"] == "01:02:03:04" and code.tags["reel_name"] == "A001C002"
        assert code.start_s == pytest.approx(video.start_s, abs=0.001)


@pytest.mark.parametrize("offset_ms", [120.0, -87.0])
def test_the_time_code_of_an_mp4_starts_with_its_video(tmp_path: Path, offset_ms: float) -> None:
    src, dst = clap(tmp_path / "in.mp4", *H264, "-c:a", "aac", *TIME_CODE), tmp_path / "out.mp4"
    shift(src, dst, offset_ms)
    streams = packets.contents(dst).streams
    assert streams[0].start_s == next(s for s in streams if s.time_code).start_s == 0
    assert lag_ms(dst) - lag_ms(src) == pytest.approx(offset_ms, abs=TOLERANCE_MS)


def test_a_reel_name_that_cannot_be_kept_is_reported(tmp_path: Path) -> None:
    src = clap(tmp_path / "in.mov", *H264, "-c:a", "aac", *TIME_CODE)
    assert ".mkv cannot keep the reel name A001C002" in shift(src, tmp_path / "out.mkv", 120.0).sentence


DROP = ("-r", "30000/1001", "-timecode", "01:00:00;02")


@pytest.mark.parametrize("offset_ms", [120.0, -87.0])
@pytest.mark.parametrize(
    ("name", "tags", "target"),
    [
        pytest.param("in.mov", DROP, "out.mov", id="drop-frame"),
        pytest.param("in.mkv", ("-metadata", "timecode=10:00:00:00"), "out.mov", id="a tag becomes a track"),
    ],
)
def test_a_time_code_track_that_is_made_anew_begins_with_the_video(
    tmp_path: Path, name: str, tags: tuple[str, ...], target: str, offset_ms: float
) -> None:
    """ffmpeg copies the number in such a track without its drop-frame flag, and begins new ones at 0."""
    src, dst = clap(tmp_path / name, *H264, "-c:a", "aac", *tags), tmp_path / target
    assert "cannot keep" not in shift(src, dst, offset_ms).sentence
    (code,) = labels.time_codes(packets.contents(src))
    assert labels.time_codes(packets.contents(dst)) == {code}
    streams = packets.contents(dst).streams
    assert streams[0].start_s == next(s for s in streams if s.time_code).start_s == 0
    assert lag_ms(dst) - lag_ms(src) == pytest.approx(offset_ms, abs=2 * TOLERANCE_MS)


@pytest.mark.parametrize("offset_ms", [120.0, -87.0])
@pytest.mark.parametrize("target", ["out.mov", "out.mp4"])
def test_a_time_code_track_that_is_cut_with_the_video_goes_on_from_there(
    tmp_path: Path, target: str, offset_ms: float
) -> None:
    """Its edit list hides a second of it, which a copy would show again."""
    src, dst = tmp_path / "in.mov", tmp_path / target
    whole = clap(tmp_path / "whole.mov", *H264, "-c:a", "aac", *TIME_CODE)
    run_ffmpeg("-ss", "1", "-i", whole, "-map", "0", "-c", "copy", src)
    found = probe(src).video
    assert found is not None and found.timecode == "01:02:04:04"
    sentence = shift(src, dst, offset_ms).sentence
    assert "time code" not in sentence and ("reel name" in sentence) == (target == "out.mp4")
    again = probe(dst).video
    assert again is not None and again.timecode == "01:02:04:04"
    assert labels.reel_names(packets.contents(dst)) == ({"A001C002"} if target == "out.mov" else set())
    assert lag_ms(dst) - lag_ms(src) == pytest.approx(offset_ms, abs=TOLERANCE_MS)


@pytest.mark.parametrize(("target", "kept"), [("out.mov", 2), ("out.mp4", 1)])
def test_two_time_code_tracks_are_kept_or_the_second_is_called_lost(
    tmp_path: Path, target: str, kept: int
) -> None:
    first = clap(tmp_path / "1.mov", *H264, "-c:a", "aac", *TIME_CODE)
    second = clap(tmp_path / "2.mov", *H264, "-c:a", "aac", "-timecode", "10:00:00:00")
    src, dst = tmp_path / "in.mov", tmp_path / target
    run_ffmpeg("-i", first, "-i", second, "-map", "0", "-map", "1:d", "-c", "copy", src)
    sentence = shift(src, dst, -87.0).sentence
    assert len(labels.time_codes(packets.contents(dst))) == kept
    assert ("cannot keep the time code 10:00:00:00" in sentence) == (kept == 1)


def test_drop_frame_keeps_its_reel_and_rolls_over_at_midnight(tmp_path: Path) -> None:
    code = ("-r", "30000/1001", "-timecode", "23:59:58;00", "-metadata:s:v", "reel_name=A001C002")
    src, dst = clap(tmp_path / "in.mov", *H264, "-c:a", "aac", *code), tmp_path / "out.mov"
    assert "cannot keep" not in shift(src, dst, -87.0).sentence
    contents = packets.contents(dst)
    assert labels.time_codes(contents) == {"23:59:58;00"} and labels.reel_names(contents) == {"A001C002"}
    video = probe(dst).video
    assert video is not None
    base = timebase(video.fps, video.start_s, video.timecode)
    assert timecode_at(base, video.start_s + 2.002) == "00:00:00;00"


def test_mxf_keeps_its_time_code_in_mov_and_loses_nothing(tmp_path: Path) -> None:
    src = clap(tmp_path / "in.mxf", "-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-timecode", "10:00:00:00")
    assert "cannot keep" not in shift(src, tmp_path / "out.mov", 120.0).sentence
    assert labels.time_codes(packets.contents(tmp_path / "out.mov")) == {"10:00:00:00"}


def test_a_program_stream_whose_frames_share_packets_is_shifted_in_its_headers(tmp_path: Path) -> None:
    """Only the first frame of a packet has a time of its own; a muxer makes up the others, unevenly."""
    src = tmp_path / "in.vob"
    video = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=30000/1001:d=12")
    audio = ("-itsoffset", "0.15", "-f", "lavfi", "-i", "sine=1000:d=12:r=48000")
    run_ffmpeg(*video, *audio, "-c:v", "mpeg2video", "-q:v", "3", "-c:a", "ac3", "-f", "vob", src)
    done = shift(src, tmp_path / "out.vob", -145.0)
    assert done.in_place
    before, after = (probe(path) for path in (src, tmp_path / "out.vob"))
    assert before.video and after.video
    late_s = [media.audio[0].start_s - media.video.start_s for media in (before, after) if media.video]
    assert late_s[1] - late_s[0] == pytest.approx(-0.145, abs=TOLERANCE_MS / 1000)


def test_a_transport_stream_keeps_its_programs_and_each_its_own_end(tmp_path: Path) -> None:
    """A muxer would make one program of them. That the second lasts longer is no fault of the first."""
    src, out = tmp_path / "in.ts", tmp_path / "out.ts"
    first, second = (
        ("-f", "lavfi", "-i", f"testsrc2=s=96x64:r=25:d={s}", "-f", "lavfi", "-i", f"sine=1000:d={s}:r=48000")
        for s in (4, 9)
    )
    maps = [part for number in range(4) for part in ("-map", f"{number}")]
    programs = (
        "-program",
        "title=A:program_num=11:st=0:st=1",
        "-program",
        "title=B:program_num=22:st=2:st=3",
    )
    run_ffmpeg(*first, *second, *maps, *H264, "-c:a", "aac", *programs, "-f", "mpegts", src)
    assert probe(src).duration_s == pytest.approx(4, abs=0.3)
    assert shift(src, out, 120.0).in_place
    before, after = src.read_bytes(), out.read_bytes()
    pids = {(a[1] & 31) << 8 | a[2] for a, b in packets_of(before, after) if a != b}
    with av.open(str(out)) as container:
        assert pids == {container.streams.audio[0].id}
    late_s = [media.audio[0].start_s - media.video.start_s for media in map(probe, (src, out)) if media.video]
    assert late_s[1] - late_s[0] == pytest.approx(0.12, abs=TOLERANCE_MS / 1000)


def packets_of(before: bytes, after: bytes) -> list[tuple[bytes, bytes]]:
    """The packets of two transport streams of the same size, in pairs."""
    return [(before[at : at + 188], after[at : at + 188]) for at in range(0, len(before), 188)]


# --- Refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codecs", "target", "advised"),
    [
        pytest.param(
            "in.avi", ("-r", "15", *MPEG4, "-bf", "2", "-c:a", "aac"), "out.ts", ".mkv", id="a filter"
        ),
        pytest.param(
            "in.nut", (*MPEG4, "-c:a", "libmp3lame", "-ar", "8000"), "out.ts", ".nut", id="no decoder"
        ),
        pytest.param(
            "in.dv",
            ("-s", "720x576", "-pix_fmt", "yuv420p", "-c:v", "dvvideo", "-c:a", "pcm_s16le", "-ac", "2"),
            "out.dv",
            ".mkv",
            id="its own format",
        ),
    ],
)
def test_every_refusal_leads_to_a_repair(
    tmp_path: Path, name: str, codecs: tuple[str, ...], target: str, advised: str
) -> None:
    src = clap(tmp_path / name, *codecs)
    with pytest.raises(MediaError, match=rf"choose a target that ends in \{advised}\.$") as error:
        shift(src, tmp_path / target, 100.0)
    one_sentence(error)
    assert "/proc" not in str(error.value)
    dst = tmp_path / f"advised{advised}"
    shift(src, dst, 100.0)
    assert lag_ms(dst) - lag_ms(src) == pytest.approx(100.0, abs=TOLERANCE_MS)
