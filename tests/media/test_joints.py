"""Recordings joined byte by byte: each part is read as what it is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joined_factory import joined, lags_ms
from media_factory import MPEG2, X264, bar_and_click, ffmpeg
from timestamps import in_ts

from avsync import fix_offset
from avsync.core.errors import MediaError
from avsync.media import joints
from avsync.media.decode import Damage, decoded
from avsync.media.probe import probe

TOLERANCE_MS = 3.0
H264 = (*X264, "-bf", "2", "-g", "25")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none")
OTHER_PROGRAM = ("-mpegts_start_pid", "512", "-mpegts_pmt_start_pid", "4352", "-mpegts_service_id", "2")


def part(path: Path, late_s: float, video: tuple[str, ...], audio: str, *args: object) -> Path:
    return bar_and_click(path, *args, audio_delay_s=late_s, codec=(*video, "-c:a", audio))


@pytest.mark.parametrize(
    ("suffix", "first", "second"),
    [
        pytest.param(".ts", (H264, "mp2"), (H264, "aac"), id="another audio codec"),
        pytest.param(".ts", (H264, "mp2"), (H264, "mp2", "-mpegts_start_pid", "512"), id="other PIDs"),
        pytest.param(".ts", (H264, "mp2"), (H264, "mp2", *OTHER_PROGRAM), id="another program"),
        pytest.param(".ts", (H264, "mp2"), ((*MPEG2, "-bf", "2"), "mp2"), id="another video codec"),
        pytest.param(".mpg", (MPEG2, "ac3", "-f", "vob"), (MPEG2, "mp2"), id="program stream"),
        *(
            pytest.param(*values, id=name, marks=pytest.mark.slow)
            for name, *values in (
                ("AC-3", ".ts", (H264, "mp2"), (H264, "ac3")),
                ("HEVC", ".ts", (H264, "mp2"), (HEVC, "mp2")),
                ("blu-ray packets", ".m2ts", (H264, "ac3"), (H264, "mp2")),
                ("the clock goes on", ".ts", (H264, "mp2"), (H264, "aac", "-output_ts_offset", "4.3")),
            )
        ),
    ],
)
def test_each_part_is_read_with_its_own_streams(
    tmp_path: Path, suffix: str, first: tuple, second: tuple
) -> None:
    a, b = part(tmp_path / f"a{suffix}", 0.2, *first), part(tmp_path / f"b{suffix}", -0.1, *second)
    media = probe(joined(tmp_path / f"joined{suffix}", a, b, a))
    assert lags_ms(media) == pytest.approx([200, -100, 200], abs=TOLERANCE_MS)
    assert media.duration_s == pytest.approx(2 * probe(a).duration_s + probe(b).duration_s, abs=0.5)
    edges = [one.window[1] for one in media.parts if one.window]
    assert edges == pytest.approx(np.cumsum([path.stat().st_size for path in (a, b, a)]), abs=4 * 192)


@pytest.mark.parametrize("cut", [1, 100, 188 * 3 + 50])
def test_a_part_may_begin_anywhere_in_a_packet(tmp_path: Path, cut: int) -> None:
    a, b = part(tmp_path / "a.ts", 0.2, H264, "mp2"), part(tmp_path / "b.ts", -0.1, H264, "aac")
    b.write_bytes(b.read_bytes()[cut:])
    assert lags_ms(probe(joined(tmp_path / "j.ts", a, b))) == pytest.approx([200, -100], abs=TOLERANCE_MS)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [("48000", "44100"), ("44100", "48000"), ("32000", "48000")])
def test_a_part_with_another_sample_rate_keeps_its_clock(tmp_path: Path, rates: tuple[str, str]) -> None:
    """The demuxer goes on counting the frames of AAC within a packet at the old rate."""
    parts = [part(tmp_path / f"{rate}.ts", 0.2, H264, "aac", "-ar", rate) for rate in rates]
    assert lags_ms(probe(joined(tmp_path / "j.ts", *parts))) == pytest.approx([200, 200], abs=TOLERANCE_MS)


@pytest.mark.parametrize(
    ("suffix", "video", "first", "second"),
    [
        pytest.param(".mkv", H264, "aac", "libmp3lame", id="Matroska"),
        pytest.param(".mp4", H264, "aac", "aac", id="MP4"),
        pytest.param(".flv", H264, "aac", "libmp3lame", id="FLV"),
        pytest.param(".ogv", ("-c:v", "libtheora", "-q:v", "7"), "libvorbis", "libopus", id="Ogg"),
        *(
            pytest.param(*values, id=name, marks=pytest.mark.slow)
            for name, *values in (
                ("WebM", ".webm", ("-c:v", "libvpx", "-deadline", "realtime"), "libopus", "libvorbis"),
                ("MOV", ".mov", H264, "pcm_s16le", "aac"),
                ("NUT", ".nut", H264, "aac", "mp2"),
                ("ASF", ".wmv", ("-c:v", "wmv2"), "wmav2", "wmav2"),
            )
        ),
    ],
)
def test_other_formats_go_on_after_their_end(
    tmp_path: Path, suffix: str, video: tuple[str, ...], first: str, second: str
) -> None:
    a = part(tmp_path / f"a{suffix}", 0.2, video, first, "-ar", "48000" if suffix != ".flv" else "44100")
    b = part(tmp_path / f"b{suffix}", -0.1, video, second, "-ar", "48000" if suffix != ".flv" else "44100")
    media = probe(joined(tmp_path / f"j{suffix}", a, b))
    assert lags_ms(media) == pytest.approx([*lags_ms(probe(a)), *lags_ms(probe(b))], abs=TOLERANCE_MS)
    assert lags_ms(media) == pytest.approx([200, -100], abs=2 * TOLERANCE_MS)
    assert media.unread_bytes == 0


def test_mpeg_streams_that_go_on_alike_are_no_parts(tmp_path: Path) -> None:
    a = part(tmp_path / "a.ts", 0.2, H264, "mp2")
    assert probe(joined(tmp_path / "j.ts", a, a)).parts == ()
    b = part(tmp_path / "b.mpg", 0.2, MPEG2, "mp2")
    media = probe(joined(tmp_path / "j.mpg", b, b))
    assert media.parts == () and len(media.pieces) == 2


@pytest.mark.parametrize(
    ("suffix", "first", "second"),
    [
        pytest.param(".ts", (H264, "mp2"), (H264, "mp2"), id="the same streams"),
        pytest.param(".ts", (H264, "mp2"), (H264, "aac", *OTHER_PROGRAM), id="another program"),
        pytest.param(".m2ts", (H264, "ac3"), (H264, "ac3"), id="blu-ray packets"),
        pytest.param(".mpg", (MPEG2, "mp2"), (MPEG2, "mp2"), id="program stream"),
        pytest.param(".mpg", (MPEG2, "ac3", "-f", "vob"), (MPEG2, "mp2"), id="private stream, and audio"),
        pytest.param(".mpg", (MPEG2, "mp2", "-f", "mpeg"), (MPEG2, "mp2", "-f", "mpeg"), id="MPEG-1"),
        pytest.param(
            ".mpg", (MPEG2, "ac3", "-f", "mpeg"), (MPEG2, "mp2", "-f", "mpeg"), id="MPEG-1, private stream"
        ),
        pytest.param(".ts", (H264, "mp2", "-muxdelay", "0", "-muxpreload", "0"), (H264, "mp2"), id="from 0"),
    ],
)
@pytest.mark.parametrize("offset_ms", [100, -87])
def test_a_joined_mpeg_stream_is_repaired_as_a_whole(
    tmp_path: Path, suffix: str, first: tuple, second: tuple, offset_ms: int
) -> None:
    """Only the times in the headers of its packets change: a few bytes each."""
    a, b = part(tmp_path / f"a{suffix}", 0.2, *first), part(tmp_path / f"b{suffix}", -0.1, *second)
    whole, out = joined(tmp_path / f"j{suffix}", a, b, a), tmp_path / f"out{suffix}"
    result = fix_offset(whole, out, offset_ms=offset_ms)
    before, after = probe(whole), probe(out)
    wanted = [late_ms + offset_ms for late_ms in lags_ms(before)]
    assert lags_ms(after) == pytest.approx(wanted, abs=TOLERANCE_MS)
    assert lags_ms(before) == pytest.approx([200, -100, 200], abs=TOLERANCE_MS)
    assert out.stat().st_size == whole.stat().st_size and "ffmpeg" not in result.settings
    changed = np.frombuffer(whole.read_bytes(), np.uint8) != np.frombuffer(out.read_bytes(), np.uint8)
    assert 0 < changed.sum() < 0.01 * len(changed)


def test_wrong_timestamps_in_a_transport_stream_do_not_prevent_its_repair(tmp_path: Path) -> None:
    path = part(tmp_path / "a.ts", 0.2, H264, "aac", "-b:a", "32k")
    in_ts(
        path, lambda kind, n, time_s: time_s + 36_000 if (kind, n) in (("audio", 1), ("video", 9)) else None
    )
    media = probe(path)
    assert media.wild and len(media.pieces) == 1
    fix_offset(path, tmp_path / "out.ts", offset_ms=100)
    assert lags_ms(probe(tmp_path / "out.ts")) == pytest.approx([300], abs=TOLERANCE_MS)


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_a_single_track_of_a_joined_stream_is_moved(tmp_path: Path, suffix: str) -> None:
    codec = (H264 if suffix == ".ts" else MPEG2, "mp2")
    maps = ("-map", "0:v", "-map", "1:a", "-map", "1:a")
    a = part(tmp_path / f"a{suffix}", 0.2, *codec, *maps)
    whole = joined(tmp_path / f"j{suffix}", a, a)
    fix_offset(whole, tmp_path / f"out{suffix}", offset_ms=100, audio_track=1)
    media = probe(tmp_path / f"out{suffix}")
    assert lags_ms(media, 0) == pytest.approx([200, 200], abs=TOLERANCE_MS)
    assert lags_ms(media, 1) == pytest.approx([300, 300], abs=TOLERANCE_MS)


@pytest.mark.parametrize(
    ("suffix", "first", "second", "target"),
    [
        (".ts", "mp2", "aac", ".mkv"),
        (".ts", "mp2", "mp2", ".mkv"),
        (".mpg", "mp2", "mp2", ".mkv"),
        (".mkv", "aac", "aac", ".mkv"),
    ],
)
def test_a_repair_is_refused_with_advice_that_works(
    tmp_path: Path, suffix: str, first: str, second: str, target: str
) -> None:
    video = MPEG2 if suffix == ".mpg" else H264
    a, b = (
        part(tmp_path / f"a{suffix}", 0.2, video, first),
        part(tmp_path / f"b{suffix}", -0.1, video, second),
    )
    whole = joined(tmp_path / f"j{suffix}", a, b)
    assert lags_ms(probe(whole)) == pytest.approx([*lags_ms(probe(a)), *lags_ms(probe(b))], abs=TOLERANCE_MS)
    with pytest.raises(MediaError, match="2 recordings joined into one") as error:
        fix_offset(whole, tmp_path / f"out{target}", offset_ms=100)
    assert ("a target that ends in" in str(error.value)) == (suffix != ".mkv")
    cut = int(re.findall(r"after byte (\d+)", str(error.value))[0])
    data = whole.read_bytes()
    for name, piece, late_ms in ((f"1{suffix}", data[:cut], 200), (f"2{suffix}", data[cut:], -100)):
        (tmp_path / name).write_bytes(piece)
        fix_offset(tmp_path / name, tmp_path / f"out-{name}", offset_ms=100)
        assert lags_ms(probe(tmp_path / f"out-{name}")) == pytest.approx([late_ms + 100], abs=TOLERANCE_MS)
    assert not (tmp_path / f"out{target}").exists()


@pytest.mark.parametrize("begin_s", [3.3, 3.7, 4.3])
def test_audio_that_ends_after_the_next_clock_begins_takes_its_video_along(
    tmp_path: Path, begin_s: float
) -> None:
    """The video of the second part goes on after that of the first, its audio starts over."""
    a = bar_and_click(tmp_path / "a.ts", audio_delay_s=0.2, codec=(*H264, "-c:a", "aac"))
    short = tmp_path / "short.ts"
    ffmpeg("-i", a, "-map", "0:a", "-map", "0:v", "-c", "copy", "-frames:v", "80", "-copyts", short)
    b = part(tmp_path / "b.ts", -0.1, H264, "aac", "-output_ts_offset", begin_s)
    assert lags_ms(probe(joined(tmp_path / "j.ts", short, b))) == pytest.approx([200, -100], abs=TOLERANCE_MS)


PACKETS = st.lists(
    st.tuples(st.sampled_from([b"\x47\x40\0\x10\0", b"\x47\x40\x20\x30", b"\0\0\1\xba", b""]), st.binary())
)


@given(PACKETS)
def test_any_bytes_are_read_to_their_end(tmp_path_factory: pytest.TempPathFactory, packets: list) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.ts"
    path.write_bytes(b"".join((head + rest).ljust(188, b"\xff") for head, rest in packets))
    assert joints.in_transport_stream(path) == sorted(joints.in_transport_stream(path))
    assert joints.in_program_stream(path) == sorted(joints.in_program_stream(path))


def test_joined_recordings_are_not_retimed(tmp_path: Path) -> None:
    a = part(tmp_path / "a.ts", 0.2, H264, "mp2")
    whole = joined(tmp_path / "j.ts", a, a)
    with pytest.raises(MediaError, match=r"cut it after byte \d+ and repair each part\."):
        fix_offset(whole, tmp_path / "out.ts", method="retime")


@pytest.mark.parametrize("audio", ["mp2", "aac"])
def test_nothing_is_damaged_where_whole_recordings_are_joined(tmp_path: Path, audio: str) -> None:
    """The packet counters break off there, which the demuxer takes for a loss."""
    a = part(tmp_path / "a.ts", 0.2, H264, audio)
    media = probe(joined(tmp_path / "j.ts", a, a, a))
    assert media.video is not None and len(media.pieces) == 3
    for index in (media.video.index, media.audio[0].index):
        damage = Damage(media.holes)
        assert len(list(decoded(media, index, damage))) > 0
        assert damage.errors == [] and damage.spans() == []


def test_a_loss_within_a_joined_recording_is_damage(tmp_path: Path) -> None:
    a = part(tmp_path / "a.ts", 0.2, H264, "mp2")
    data = bytearray(a.read_bytes())
    middle = len(data) // 2 // 188 * 188
    (tmp_path / "b.ts").write_bytes(data[:middle] + data[middle + 40 * 188 :])
    media = probe(joined(tmp_path / "j.ts", tmp_path / "b.ts", a))
    assert media.video is not None
    damage = Damage(media.holes)
    assert len(list(decoded(media, media.video.index, damage))) > 0
    assert damage.errors
