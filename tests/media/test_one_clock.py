"""Video and audio stay on one clock where containers make that hard: joints, cuts inside frames, fragments,
edit lists, and headers that claim a false length."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from media_factory import MPEG2, X264, bar_and_click, bar_time, ffmpeg

from avsync.audio.waveform import waveform
from avsync.core.streams import Media
from avsync.media.decode import Damage, decoded
from avsync.media.probe import probe

CLICK_S = 1.5
TOLERANCE_MS = 2.0
PLAIN = (*X264, "-bf", "0", "-g", "25", "-c:a", "aac")
B_FRAMES = (*X264, "-bf", "2", "-g", "25", "-c:a", "aac")
ONE_GROUP = (*X264, "-bf", "0", "-g", "300", "-c:a", "aac")


def lags_ms(media: Media) -> list[float]:
    """By how much the click sounds late against the video, in each piece."""
    assert media.video is not None
    shown = [
        (time_s, bar_time(frame.to_ndarray(format="rgb24")))
        for time_s, _, frame in decoded(media, media.video.index, Damage())
    ]
    audio = waveform(media)
    loud = np.abs(np.asarray(audio.samples))
    lags = []
    for piece in media.pieces:
        inside = [t - bar for t, bar in shown if piece.start_s + 0.2 < t < piece.end_s - 0.2]
        first, past = (round((edge - audio.start_s) * 16000) for edge in (piece.start_s, piece.end_s))
        part = loud[max(0, first) : past]
        click_s = audio.start_s + (max(0, first) + int(np.argmax(part > 0.2 * part.max()))) / 16000
        lags.append(1000 * (click_s - CLICK_S - float(np.median(inside))))
    return lags


@pytest.mark.parametrize("name", ["plain.ts", "aac.ts", "a.mpg", "ac3.vob", "a.mkv", "far.ts", "wrap.ts"])
@pytest.mark.parametrize("late_s", [0.0, 0.2])
def test_after_a_joint_audio_and_video_begin_at_their_own_timestamps(
    tmp_path: Path, name: str, late_s: float
) -> None:
    suffix = Path(name).suffix
    codec = (*MPEG2, "-bf", "2") if suffix in (".mpg", ".vob") else (*X264, "-bf", "2")
    audio = {"aac.ts": "aac", "a.mkv": "aac", "ac3.vob": "ac3"}.get(name, "mp2")
    starts = {"far.ts": ("0", "5000"), "wrap.ts": ("95430", "20")}.get(name, ("0", "0"))
    parts = []
    for number, start in enumerate(starts):
        part = tmp_path / f"{number}{suffix}"
        offset = ("-output_ts_offset", start) if start != "0" else ()
        parts.append(bar_and_click(part, *offset, audio_delay_s=late_s, codec=(*codec, "-c:a", audio)))
    joined = tmp_path / name
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    media = probe(joined)
    assert lags_ms(media) == [pytest.approx(1000 * late_s, abs=TOLERANCE_MS)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["10", "12.5", "15", "24000/1001"])
@pytest.mark.parametrize("name", ["cut.mp4", "cut.mov"])
def test_a_cut_inside_a_frame_keeps_the_frames_own_times(tmp_path: Path, rate: str, name: str) -> None:
    whole = bar_and_click(tmp_path / "whole.mp4", rate=rate, codec=ONE_GROUP)
    ffmpeg("-ss", "0.77", "-i", whole, "-c", "copy", tmp_path / name)
    assert lags_ms(probe(tmp_path / name)) == [pytest.approx(0, abs=TOLERANCE_MS)]


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(("frag_keyframe+empty_moov+delay_moov",), id="a group of frames each"),
        pytest.param(("empty_moov+delay_moov", "-frag_duration", "300000"), id="0.3 s each"),
        pytest.param(("frag_keyframe+empty_moov",), id="no edit list"),
    ],
)
@pytest.mark.parametrize("late_s", [0.0, 0.3])
def test_fragments_of_any_size_have_the_priming_left_out_once(
    tmp_path: Path, flags: tuple[str, ...], late_s: float
) -> None:
    whole = bar_and_click(tmp_path / "whole.mp4", audio_delay_s=late_s, codec=B_FRAMES)
    ffmpeg("-i", whole, "-c", "copy", "-movflags", *flags, tmp_path / "fragments.mp4")
    assert lags_ms(probe(tmp_path / "fragments.mp4")) == [pytest.approx(1000 * late_s, abs=TOLERANCE_MS)]


def boxes(data: bytes, first: int, past: int) -> list[tuple[bytes, bytes]]:
    """(name, whole box) of the MP4 boxes in data[first:past]."""
    found = []
    while first + 8 <= past:
        size, name = struct.unpack_from(">I4s", data, first)
        found.append((name, data[first : first + size]))
        first += size
    return found


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def with_edits(source: Path, target: Path, edits: list[list[tuple[float, int]]]) -> Path:
    """A copy whose tracks have these edits: seconds shown, and from where in units of the track (-1: nothing
    is shown). Its index must lie at the end."""
    top = boxes(source.read_bytes(), 0, source.stat().st_size)
    assert top[-1][0] == b"moov"
    inside = boxes(top[-1][1], 8, len(top[-1][1]))
    header = next(whole for name, whole in inside if name == b"mvhd")
    unit = struct.unpack_from(">I", header, 20)[0]
    tracks = iter(edits)
    index = b""
    for name, whole in inside:
        if name == b"trak":
            rows = next(tracks)
            table = struct.pack(">II", 0, len(rows)) + b"".join(
                struct.pack(">IiI", round(length_s * unit), begin, 0x10000) for length_s, begin in rows
            )
            edit = box(b"edts", box(b"elst", table))
            parts = [edit if kind == b"edts" else part for kind, part in boxes(whole, 8, len(whole))]
            index += box(b"trak", b"".join(parts))
        else:
            index += whole
    target.write_bytes(b"".join(whole for _, whole in top[:-1]) + box(b"moov", index))
    return target


VIDEO_UNITS, AUDIO_UNITS, PRIMING = 12800, 48000, 1024


@pytest.mark.parametrize(
    ("video", "audio", "late_ms"),
    [
        pytest.param([(0.5, -1), (4, 0)], [(0.7, -1), (4, PRIMING)], 200, id="both begin with nothing"),
        pytest.param(
            [(2.5, VIDEO_UNITS * 513 // 1000)],
            [(2.5, PRIMING + AUDIO_UNITS * 513 // 1000)],
            0,
            id="both cut inside a frame",
        ),
        pytest.param([(2.5, VIDEO_UNITS * 513 // 1000)], [(2.5, PRIMING)], 513, id="only the video is cut"),
    ],
)
def test_edit_lists_move_each_stream_as_they_say(
    tmp_path: Path, video: list[tuple[float, int]], audio: list[tuple[float, int]], late_ms: float
) -> None:
    whole = bar_and_click(tmp_path / "whole.mp4", codec=PLAIN)
    cut = with_edits(whole, tmp_path / "cut.mp4", [video, audio])
    assert lags_ms(probe(cut)) == [pytest.approx(late_ms, abs=TOLERANCE_MS)]


@pytest.mark.parametrize("claimed_ms", [91_019_000.0, 200.0, 0.001])
def test_a_false_length_in_the_header_changes_nothing(tmp_path: Path, claimed_ms: float) -> None:
    path = bar_and_click(tmp_path / "a.mkv", codec=PLAIN)
    data = bytearray(path.read_bytes())
    struct.pack_into(">d", data, data.index(b"\x44\x89\x88") + 3, claimed_ms)
    path.write_bytes(data)
    media = probe(path)
    assert media.duration_s == pytest.approx(4.0, abs=0.05)
    assert lags_ms(media) == [pytest.approx(0, abs=TOLERANCE_MS)]


def test_an_empty_packet_shows_the_frame_before_it_once_more(tmp_path: Path) -> None:
    """Theora writes one for each frame of a still image."""
    still = "color=gray:s=96x64:r=25:d=4"
    path = tmp_path / "still.ogv"
    ffmpeg("-f", "lavfi", "-i", still, "-c:v", "libtheora", path)
    media = probe(path)
    assert media.video is not None
    damage = Damage()
    times = [time_s for time_s, _, _ in decoded(media, media.video.index, damage)]
    assert times == pytest.approx(np.arange(100) / 25)
    assert damage.errors == []
