"""A repair moves times and nothing else: every stream, packet, chapter and tag of the source survives it."""

from __future__ import annotations

import functools
import math
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st

from avsync import fix, packets, remux
from avsync.errors import AvsyncError, CannotTell, MediaError, UsageError
from avsync.packets import Contents, Stream
from avsync.probe import probe
from avsync.program import ffmpeg_path
from avsync.records import Report
from avsync.settings import CheckOptions, FixOptions

# --- Made media: a white flash and a beep together, one second in --------------------------

PICTURE = "color=black:s=96x64:r=25:d=2,drawbox=c=white:t=fill:enable='between(t,1,1.19)'"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "20", "-pix_fmt", "yuv420p")
CHAPTERS = ";FFMETADATA1\ntitle=My film\nartist=Ann\n" + "".join(
    f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n"
    for start, end, title in ((0, 900, "One"), (900, 1500, "Two"), (1500, 2000, "Three"))
)
SUBTITLES = "1\n00:00:01,000 --> 00:00:01,200\nBeep\n\n2\n00:00:01,500 --> 00:00:01,700\nSilence\n"
KLV = bytes.fromhex("060e2b34020b01010e01030101000000") + b"\x10" + bytes(16)

RECIPES: dict[str, tuple[str, ...]] = {
    "plain.mp4": (*H264, "-c:a", "aac"),
    "fast.mp4": (*H264, "-c:a", "aac", "-movflags", "+faststart"),
    "hevc.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1", "-c:a", "aac"),
    "plain.mov": (*H264, "-c:a", "pcm_s16le", "-timecode", "01:02:03:04"),
    "plain.mkv": (*H264, "-c:a", "aac"),
    "plain.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "plain.ts": (
        *H264,
        "-c:a",
        "aac",
        "-streamid",
        "0:4113",
        "-streamid",
        "1:4352",
        "-output_ts_offset",
        "3600",
    ),
    "plain.m2ts": (*H264, "-c:a", "ac3"),
    "plain.mpg": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"),
    "plain.vob": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "ac3", "-f", "vob"),
    "plain.flv": (*H264, "-c:a", "aac"),
    "plain.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "pcm.avi": ("-c:v", "mpeg4", "-c:a", "pcm_s16le"),
    "h264.avi": (*H264, "-c:a", "libmp3lame"),
    "coarse.avi": ("-c:v", "mpeg4", "-bf", "2", "-c:a", "ac3"),
}


def run_ffmpeg(*arguments: str | Path) -> None:
    call = [ffmpeg_path(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(call, check=True, capture_output=True)


def beep(hz: int) -> str:
    return f"aevalsrc='if(between(t,1,1.2),0.8*sin(2*PI*{hz}*t),0)':s=48000:d=2"


def lavfi(*sources: str) -> list[str]:
    return [word for source in sources for word in ("-f", "lavfi", "-i", source)]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Files by name, each made once."""
    folder = tmp_path_factory.mktemp("made")

    @functools.cache
    def make(name: str) -> Path:
        path = folder / name
        special = {"rich.mkv": make_rich_mkv, "rich.mp4": make_rich_mp4, "phone.mov": make_phone_mov}
        if name in special:
            special[name](path)
        elif name == "trimmed.mp4":
            run_ffmpeg("-ss", "0.5", "-i", make("plain.mp4"), "-c", "copy", path)
        elif name == "klv.ts":
            (folder / "klv.bin").write_bytes(KLV)
            inputs = [*lavfi(PICTURE, beep(1000)), "-f", "data", "-i", folder / "klv.bin"]
            run_ffmpeg(
                *inputs, "-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg2video", "-c:a", "mp2", path
            )
        else:
            run_ffmpeg(*lavfi(PICTURE, beep(1000)), *RECIPES[name], path)
        return path

    return make


def text_inputs(folder: Path) -> list[str | Path]:
    """Two sounds, subtitles, chapters and a cover, as inputs 1 to 5."""
    (folder / "subtitles.srt").write_text(SUBTITLES)
    (folder / "chapters.txt").write_text(CHAPTERS)
    run_ffmpeg(*lavfi("testsrc=s=32x32:d=0.04"), "-frames:v", "1", "-update", "1", folder / "cover.png")
    others = [
        word for name in ("subtitles.srt", "chapters.txt", "cover.png") for word in ("-i", folder / name)
    ]
    return [*lavfi(PICTURE, beep(1000), beep(500)), *others]


TITLES = (
    *("-metadata:s:a:0", "language=eng", "-metadata:s:a:0", "title=Film", "-disposition:a:0", "0"),
    *(
        "-metadata:s:a:1",
        "language=fra",
        "-metadata:s:a:1",
        "title=Talk",
        "-disposition:a:1",
        "default+comment",
    ),
    *("-metadata:s:s:0", "language=deu", "-disposition:v:0", "0"),
)


def make_rich_mkv(path: Path) -> None:
    """Picture, sound, subtitles, a second sound (the only default stream), a font, a cover."""
    font = path.parent / "font.ttf"
    font.write_bytes(b"\0\1\0\0" + bytes(range(250)))
    run_ffmpeg(
        *text_inputs(path.parent),
        *("-map", "0", "-map", "1", "-map", "3", "-map", "2", "-map_metadata", "4", "-map_chapters", "4"),
        *(*H264, "-c:a:0", "aac", "-c:a:1", "ac3", "-c:s", "srt", *TITLES, "-metadata", "FOO=bar"),
        *("-attach", font, "-metadata:s:t:0", "mimetype=application/x-truetype-font"),
        *("-attach", path.parent / "cover.png", "-metadata:s:t:1", "mimetype=image/png"),
        *("-metadata:s:t:1", "filename=cover.png", "-default_mode", "passthrough", path),
    )


def make_rich_mp4(path: Path) -> None:
    """The same without the font, filmed upright, and with its index in front."""
    flat = path.with_name("flat.mp4")
    run_ffmpeg(*lavfi(PICTURE), *H264, flat)
    sideways = ["-display_rotation:v:0", "90", "-i", flat]
    run_ffmpeg(
        *sideways,
        *text_inputs(path.parent)[4:],
        *("-map", "0:v", "-map", "1", "-map", "3", "-map", "2", "-map", "5:v", "-map_metadata", "4"),
        *("-map_chapters", "4", "-c:v", "copy", "-c:a", "aac", "-c:s", "mov_text", *TITLES),
        *("-disposition:v:1", "attached_pic", "-movflags", "+faststart", path),
    )


def make_phone_mov(path: Path) -> None:
    """QuickTime keys as a telephone writes them."""
    run_ffmpeg(
        *lavfi(PICTURE, beep(1000)),
        *(
            *H264,
            "-c:a",
            "aac",
            "-movflags",
            "use_metadata_tags",
            "-metadata",
            "com.apple.quicktime.make=Apple",
        ),
        *("-metadata", "com.apple.quicktime.location.ISO6709=+48.1+002.3/", path),
    )


# --- Independent eyes: what a player shows, and what the packets hash to -------------------


def sync_ms(path: Path, track: int = 0) -> float:
    """Beep minus flash, as decoded on the presentation clock."""
    with av.open(f"file:{path}") as file:
        flash = next(
            f.time for f in file.decode(file.streams.video[0]) if f.to_ndarray(format="gray").mean() > 100
        )
    with av.open(f"file:{path}") as file:
        for frame in file.decode(file.streams.audio[track]):
            samples = frame.to_ndarray().astype(np.float64)
            samples = (
                samples[0] if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)[:, 0]
            )
            loud = np.flatnonzero(np.abs(samples) > (0.2 if "flt" in frame.format.name else 0.2 * 32768))
            if loud.size:
                return 1000 * (frame.time + loud[0] / frame.sample_rate - flash)
    raise AssertionError("no beep")


def hashes(path: Path, kinds: str = "vas") -> list[str]:
    """ffmpeg's own hash of every stream's packets, sorted, since some containers order streams by time."""
    maps = [word for kind in kinds for word in ("-map", f"0:{kind}?")]
    call = [ffmpeg_path(), "-v", "error", "-i", f"file:{path}", *maps, "-c", "copy", "-f", "streamhash", "-"]
    lines = subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    return sorted(re.sub(r"^\d+,", "", line) for line in lines)


def shift(src: Path, dst: Path, offset_ms: float, **options: Any) -> fix.FixResult:
    return fix.fix_offset(src, dst, FixOptions(offset_ms=offset_ms, **options), measure=never)


def never(path: Path) -> Report:
    raise AssertionError(f"{path} was measured")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_sentence(error: pytest.ExceptionInfo[AvsyncError]) -> str:
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and "Traceback" not in text, text
    return text


# --- The shift ---------------------------------------------------------------------------

CONTAINERS = [*(name for name in RECIPES if not name.endswith(".avi")), "rich.mkv", "rich.mp4"]


@pytest.mark.parametrize("offset_ms", [120.0, -87.0])
@pytest.mark.parametrize("name", CONTAINERS)
def test_audio_moves_by_the_offset_and_no_packet_changes(
    made, tmp_path: Path, name: str, offset_ms: float
) -> None:
    src, dst = made(name), tmp_path / f"out{Path(name).suffix}"
    result = shift(src, dst, offset_ms)
    assert result.written and not result.report_before
    assert sync_ms(dst) - sync_ms(src) == pytest.approx(offset_ms, abs=1.5)
    # Between two MP4 subtitles the muxer writes empty packets, one more before a delayed first one.
    kinds = "va" if name.endswith("mp4") else "vas"
    assert hashes(dst, kinds) == hashes(src, kinds)
    assert names(tmp_path) == [dst.name]


@pytest.mark.parametrize("offset_ms", [100.0, -100.0, -17.0])
@pytest.mark.parametrize("name", ["pcm.avi", "coarse.avi"])
def test_avi_is_repaired_into_matroska_to_the_millisecond(
    made, tmp_path: Path, name: str, offset_ms: float
) -> None:
    """AVI counts whole frames and audio blocks (32 ms here), so its own unit is too coarse for a shift."""
    src, dst = made(name), tmp_path / "out.mkv"
    shift(src, dst, offset_ms)
    assert sync_ms(dst) - sync_ms(src) == pytest.approx(offset_ms, abs=1.5)
    assert hashes(dst) == hashes(src)


def test_avi_is_no_target(made, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        shift(made("pcm.avi"), tmp_path / "out.avi", 120)
    assert "out.mkv" in one_sentence(error)
    assert names(tmp_path) == []


@pytest.mark.parametrize("offset_ms", [10.0, 33.3])
def test_a_shift_shorter_than_the_codec_priming_is_exact(made, tmp_path: Path, offset_ms: float) -> None:
    """AAC in MP4 starts 21 ms before 0; the packet there must be neither lost nor heard."""
    src, dst = made("plain.mp4"), tmp_path / "out.mp4"
    shift(src, dst, offset_ms)
    assert sync_ms(dst) - sync_ms(src) == pytest.approx(offset_ms, abs=0.1)


def test_a_clip_that_was_cut_by_an_edit_list_keeps_what_lies_before_the_cut(made, tmp_path: Path) -> None:
    src = made("trimmed.mp4")
    for offset_ms in (120.0, -87.0):
        dst = tmp_path / f"{offset_ms}.mp4"
        shift(src, dst, offset_ms)
        assert sync_ms(dst) - sync_ms(src) == pytest.approx(offset_ms, abs=0.5)
        assert hashes(dst) == hashes(src)


def test_shifting_back_restores_the_source(made, tmp_path: Path) -> None:
    src, there, back = made("rich.mkv"), tmp_path / "there.mkv", tmp_path / "back.mkv"
    shift(src, there, 80)
    shift(there, back, -80)
    old, new = (packets.read_packets(packets.contents(p)) for p in (src, back))
    assert [packets.moved_by(a, b) for a, b in packets.pair(old, new) if a.stream.kind == "audio"] == [0, 0]
    assert sync_ms(back) == pytest.approx(sync_ms(src), abs=0.01)


def test_one_track_alone_can_be_moved(made, tmp_path: Path) -> None:
    src, dst = made("rich.mkv"), tmp_path / "out.mkv"
    shift(src, dst, 60, check=CheckOptions(audio_track=1))
    assert sync_ms(dst, 0) == pytest.approx(sync_ms(src, 0), abs=0.1)
    assert sync_ms(dst, 1) - sync_ms(src, 1) == pytest.approx(60, abs=1.5)


def test_audio_that_can_start_earlier_does_so_and_the_picture_stays(made, tmp_path: Path) -> None:
    late = tmp_path / "late.mkv"
    shift(made("plain.mkv"), late, 500)
    shift(late, tmp_path / "out.mkv", -200)
    video, sound = probe(tmp_path / "out.mkv").video, probe(tmp_path / "out.mkv").audio[0]
    assert video is not None and video.start_s == 0
    assert sound.start_s == pytest.approx(0.3, abs=0.03)


class TestWhereTheDelayGoes:
    """Nothing may start before 0, so either the audio is moved or everything else."""

    @given(
        offset_ms=st.floats(-5000, 5000).filter(lambda ms: abs(ms) > 0.01),
        start_s=st.floats(0, 10),
        frame_s=st.sampled_from([0.0, 0.04, 1001 / 30000]),
    )
    def test_it_adds_up_to_the_offset_and_nothing_starts_before_zero(
        self, offset_ms: float, start_s: float, frame_s: float
    ) -> None:
        streams = (
            Stream(0, 0, "video", "h264", (), {}, frame_s or 1e-5, 0.0),
            Stream(1, 1, "audio", "aac", (), {}, 1e-5, start_s),
        )
        file = Contents(Path("a"), "x", 0.0, 60.0, {}, (), streams)
        rest_s, audio_s = remux._shifts(file, (1,), offset_ms)
        assert audio_s - rest_s == pytest.approx(offset_ms / 1000, abs=1e-9)
        assert rest_s >= 0 and start_s + audio_s >= -1e-9
        assert rest_s == 0 or audio_s == pytest.approx(0, abs=frame_s + 1e-9)
        if frame_s:
            assert rest_s / frame_s == pytest.approx(round(rest_s / frame_s), abs=1e-5)


# --- What survives -----------------------------------------------------------------------


def described(path: Path) -> list[tuple[str, str, tuple[str, ...], str | None, str | None]]:
    return [
        (s.kind, s.codec, s.dispositions, s.tags.get("language"), s.tags.get("title") or s.tags.get("name"))
        for s in packets.contents(path).streams
        if not s.remade
    ]


@pytest.mark.parametrize("offset_ms", [120.0, -400.0])
def test_matroska_keeps_streams_titles_attachments_chapters_and_tags(
    made, tmp_path: Path, offset_ms: float
) -> None:
    src, dst = made("rich.mkv"), tmp_path / "out.mkv"
    result = shift(src, dst, offset_ms)
    assert "cannot keep" not in result.sentence
    assert described(dst) == described(src)
    assert [kind for kind, *_ in described(dst)] == [
        "video",
        "audio",
        "subtitle",
        "audio",
        "attachment",
        "video",
    ]
    old, new = packets.contents(src), packets.contents(dst)
    assert [c.title for c in new.chapters] == ["One", "Two", "Three"]
    picture_s = max(0.0, -offset_ms / 1000)
    assert [c.start_s - picture_s for c in new.chapters] == pytest.approx([0, 0.9, 1.5], abs=0.001)
    assert {k: v for k, v in old.tags.items() if k != "ENCODER"}.items() <= new.tags.items()
    with av.open(str(src)) as a, av.open(str(dst)) as b:
        assert a.streams.attachments[0].data == b.streams.attachments[0].data
        assert b.streams.attachments[0].name == "font.ttf"
        cover = b.streams.video[1]
        assert cover.disposition & Disposition.attached_pic
        assert cover.metadata["mimetype"] == "image/png"


@pytest.mark.parametrize("offset_ms", [120.0, -400.0])
def test_mp4_keeps_titles_chapters_cover_rotation_and_a_front_index(
    made, tmp_path: Path, offset_ms: float
) -> None:
    src, dst = made("rich.mp4"), tmp_path / "out.mp4"
    result = shift(src, dst, offset_ms)
    assert "cannot keep" not in result.sentence
    assert described(dst) == described(src)
    new = packets.contents(dst)
    picture_s = max(0.0, -offset_ms / 1000)
    assert [c.start_s - picture_s for c in new.chapters[1:]] == pytest.approx([0.9, 1.5], abs=0.001)
    assert new.tags["title"] == "My film" and new.tags["artist"] == "Ann"
    video = probe(dst).video
    assert video is not None and abs(video.rotation_deg) == 90
    assert dst.read_bytes().index(b"moov") < dst.read_bytes().index(b"mdat")
    subtitles = [p for p in packets.read_packets(new) if p.stream.kind == "subtitle"]
    assert subtitles[0].times_s[:, 0] - picture_s == pytest.approx([1.0, 1.5], abs=0.002)


def test_a_plain_index_stays_behind(made, tmp_path: Path) -> None:
    shift(made("plain.mp4"), tmp_path / "out.mp4", 120)
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"mdat") < content.index(b"moov")


def test_hevc_keeps_the_tag_that_apple_players_need(made, tmp_path: Path) -> None:
    shift(made("hevc.mp4"), tmp_path / "out.mp4", 120)
    assert b"hvc1" in (tmp_path / "out.mp4").read_bytes()
    shift(made("hevc.mp4"), tmp_path / "out.mkv", 120)
    shift(tmp_path / "out.mkv", tmp_path / "again.mp4", 120)
    assert b"hvc1" in (tmp_path / "again.mp4").read_bytes()


def test_mov_keeps_its_time_code_and_the_keys_of_a_telephone(made, tmp_path: Path) -> None:
    for name in ("plain.mov", "phone.mov"):
        shift(made(name), tmp_path / name, -87)
        shift(tmp_path / name, tmp_path / f"again-{name}", 87)
    codes = [s.tags.get("timecode") for s in packets.contents(tmp_path / "plain.mov").streams]
    assert codes == ["01:02:03:04", None, "01:02:03:04"]
    old, new = packets.contents(made("phone.mov")).tags, packets.contents(tmp_path / "again-phone.mov").tags
    assert {k: v for k, v in old.items() if k != "encoder"}.items() <= new.items()
    assert new["com.apple.quicktime.make"] == "Apple"


def test_a_transport_stream_keeps_its_clock_and_stream_numbers(made, tmp_path: Path) -> None:
    """Cue messages inside quote absolute times, and receivers find streams by number."""
    src, dst = made("plain.ts"), tmp_path / "out.ts"
    shift(src, dst, -87)
    old, new = packets.contents(src), packets.contents(dst)
    assert [s.number for s in new.streams] == [s.number for s in old.streams] == [4113, 4352]
    assert new.streams[0].start_s == old.streams[0].start_s
    assert old.streams[0].start_s is not None and old.streams[0].start_s > 3600


def test_blu_ray_packets_stay_such(made, tmp_path: Path) -> None:
    shift(made("plain.m2ts"), tmp_path / "out.m2ts", 50)
    head = (tmp_path / "out.m2ts").read_bytes()[:197]
    assert head[4] == head[196] == 0x47


# --- What a format cannot hold -----------------------------------------------------------


def test_data_that_the_target_cannot_hold_is_never_lost_silently(made, tmp_path: Path) -> None:
    src = made("klv.ts")
    shift(src, tmp_path / "same.ts", 120)
    assert [s.kind for s in packets.contents(tmp_path / "same.ts").streams] == ["video", "audio", "data"]
    with pytest.raises(UsageError) as error:
        shift(src, tmp_path / "out.mkv", 120)
    assert "stream 2" in one_sentence(error) and "--force" in one_sentence(error)
    result = shift(src, tmp_path / "out.mkv", 120, force=True)
    assert "without stream 2" in result.sentence
    assert [s.kind for s in packets.contents(tmp_path / "out.mkv").streams] == ["video", "audio"]


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [
        ("plain.mp4", "out.webm", "Only VP8"),
        ("rich.mkv", "out.mp4", "cannot hold"),
        ("plain.mp4", "out.ts", "other packets"),
        ("plain.ts", "out.mp4", "other packets"),
        ("h264.avi", "out.mkv", "other packets"),
        ("plain.mp4", "out.xyz", "suffix"),
        ("plain.mp4", "out", "suffix"),
    ],
)
def test_a_target_of_another_format_is_a_true_copy_or_refused(
    made, tmp_path: Path, name: str, target: str, says: str
) -> None:
    with pytest.raises((UsageError, MediaError)) as error:
        shift(made(name), tmp_path / target, 120)
    assert says in one_sentence(error) and Path(name).suffix in one_sentence(error)
    assert names(tmp_path) == []


def test_a_playlist_is_no_format_to_write(made, tmp_path: Path) -> None:
    run_ffmpeg("-i", made("plain.mp4"), "-c", "copy", tmp_path / "list.m3u8")
    before = names(tmp_path)
    with pytest.raises(MediaError, match=r"convert it to \.mkv first"):
        shift(tmp_path / "list.m3u8", tmp_path / "out.mp4", 120)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "target"), [("plain.mp4", "out.mkv"), ("plain.mkv", "out.mp4"), ("plain.mpg", "out.mkv")]
)
def test_a_format_that_takes_the_packets_as_they_are_may_be_chosen(
    made, tmp_path: Path, name: str, target: str
) -> None:
    src, dst = made(name), tmp_path / target
    shift(src, dst, 120)
    assert sync_ms(dst) - sync_ms(src) == pytest.approx(120, abs=1.5)
    assert hashes(dst) == hashes(src)
    video = probe(dst).video
    assert video is not None and video.start_s < 0.1


# --- The check of the result -------------------------------------------------------------


def checked(made: Callable[[str], Path], arguments: list[str], folder: Path) -> None:
    """Verify, as the result of a repair by 120 ms, what ffmpeg makes of the source with `arguments`."""
    planned = fix.plan(probe(made("plain.mkv")), 120.0, folder / "out.mkv")
    run_ffmpeg(
        "-i", made("plain.mkv"), "-itsoffset", "0.12", "-i", made("plain.mkv"), *arguments, folder / "x.mkv"
    )
    fix.verify(planned, packets.contents(planned.src), folder / "x.mkv")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-map", "0:v", "-map", "0:a", "-c", "copy"], "moved by 0 ms against the picture, not by 120 ms"),
        (["-map", "1:v", "-map", "0:a", "-c", "copy"], "moved by -120 ms"),
        (["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-b:a", "32k"], "other packets"),
        (["-map", "0:v", "-map", "1:a", "-c", "copy", "-t", "1.5"], "other packets"),
        (["-map", "0:v", "-c", "copy"], "missing"),
        (["-map", "0:v", "-map", "1:a", "-map", "0:a", "-c", "copy"], "added"),
    ],
)
def test_verify_refuses_what_is_no_true_copy(made, tmp_path: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(MediaError, match=says) as error:
        checked(made, arguments, tmp_path)
    one_sentence(error)


def test_verify_accepts_the_true_copy(made, tmp_path: Path) -> None:
    checked(made, ["-map", "0:v", "-map", "1:a", "-c", "copy"], tmp_path)


def test_chapters_must_stay_with_the_picture() -> None:
    chapters = [packets.Chapter(0.0, "One"), packets.Chapter(1.0, "Two")]
    later = [packets.Chapter(0.0, "One"), packets.Chapter(1.4, "Two")]
    packets.check_chapters(chapters, later, 0.4)
    for other in (later, chapters[:1], [chapters[0], packets.Chapter(1.0, "Other")]):
        with pytest.raises(packets.DifferentError):
            packets.check_chapters(chapters, other, 0.0)


# --- Targets -----------------------------------------------------------------------------


def test_the_input_is_never_the_output_under_any_name(made, tmp_path: Path) -> None:
    src = tmp_path / "in.mp4"
    src.write_bytes(made("plain.mp4").read_bytes())
    (tmp_path / "soft.mp4").symlink_to(src)
    (tmp_path / "hard.mp4").hardlink_to(src)
    (tmp_path / "sub").mkdir()
    content = src.read_bytes()
    for target in (src, tmp_path / "soft.mp4", tmp_path / "hard.mp4", tmp_path / "sub" / ".." / "in.mp4"):
        with pytest.raises(UsageError, match="input itself"):
            shift(src, target, 120, force=True)
    assert src.read_bytes() == content


def test_an_existing_target_is_replaced_only_by_force(made, tmp_path: Path) -> None:
    dst = tmp_path / "out.mp4"
    dst.write_text("precious")
    with pytest.raises(UsageError, match="--force"):
        shift(made("plain.mp4"), dst, 120)
    assert dst.read_text() == "precious"
    shift(made("plain.mp4"), dst, 120, force=True)
    assert probe(dst).video is not None
    assert names(tmp_path) == ["out.mp4"]


def test_places_where_no_file_can_be(made, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    for target in ("file/out.mp4", "missing/out.mp4", "folder.mp4", "dangling.mp4", "x" * 300 + ".mp4"):
        with pytest.raises(UsageError) as error:
            shift(made("plain.mp4"), tmp_path / target, 120)
        one_sentence(error)
    with pytest.raises(UsageError, match="regular"):
        shift(made("plain.mp4"), Path("/dev/null"), 120, force=True)
    with pytest.raises(MediaError, match="cannot be written"):
        shift(made("plain.mp4"), Path("/proc/out.mp4"), 120)
    assert names(tmp_path) == ["dangling.mp4", "file", "folder.mp4"]


@contextmanager
def short_of_space() -> Iterator[None]:
    """No file may grow beyond 4 kB, for this process and those it starts.

    Not a fixture: pytest reports a test before it tears fixtures down, and where its output goes to a file,
    that file may not grow either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_not_grow_leaves_nothing(made, tmp_path: Path) -> None:
    src = made("plain.mkv")
    with short_of_space(), pytest.raises(MediaError, match="cannot be written") as error:
        shift(src, tmp_path / "out.mkv", 120)
    one_sentence(error)
    assert names(tmp_path) == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing(made, full_disk: Path) -> None:
    with pytest.raises(MediaError, match="No space left") as error:
        shift(made("plain.ts"), full_disk / "out.ts", 120)
    one_sentence(error)
    assert names(full_disk) == []


def test_a_source_that_is_still_being_written_leaves_nothing(made, tmp_path: Path) -> None:
    src = tmp_path / "in.ts"
    src.write_bytes(made("plain.ts").read_bytes())

    def grow(_temporary: Path) -> None:
        with src.open("ab") as file:
            file.write(bytes(188))

    with pytest.raises(MediaError, match="changed while it was copied"):
        fix.apply(fix.plan(probe(src), 120.0, tmp_path / "out.ts"), accept=grow)
    assert names(tmp_path) == ["in.ts"]


@pytest.mark.parametrize("at", [0.0, 0.6])
def test_ctrl_c_leaves_nothing(made, tmp_path: Path, at: float) -> None:
    """While ffmpeg writes, and while the result is checked."""

    def progress(stage: str, done: float, total: float | None) -> None:
        if done >= at:
            raise KeyboardInterrupt

    planned = fix.plan(probe(made("plain.ts")), 120.0, tmp_path / "out.ts")
    with pytest.raises(KeyboardInterrupt):
        fix.apply(planned, progress)
    assert names(tmp_path) == []


def test_progress_goes_from_nought_to_one(made, tmp_path: Path) -> None:
    seen: list[tuple[str, float, float | None]] = []
    fix.apply(fix.plan(probe(made("rich.mp4")), 120.0, tmp_path / "out.mp4"), lambda *step: seen.append(step))
    shares = [done for _, done, _ in seen]
    assert shares == sorted(shares) and shares[0] >= 0 and 0.9 < shares[-1] <= 1
    assert {(stage, total) for stage, _, total in seen} == {("fix", 1.0)}


@pytest.mark.parametrize(
    "name",
    [
        "a b'c\"d.mkv",
        "-y.mkv",
        "Tür 日本 🎬.mkv",
        "concat:a|b.mkv",
        "http:x.mkv",
        "100%03d.mkv",
        "$(touch evil);&.mkv",
        "new\nline.mkv",
        "é" * 120 + ".mkv",
    ],
)
def test_any_name_is_taken_literally(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As input, as output, and in the command of a dry run; with a cover, whose bytes are named too."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in", name).write_bytes(made("rich.mkv").read_bytes())
    Path("out").mkdir()
    monkeypatch.chdir("in")
    shift(Path(name), Path("..", "out", name), 120)
    assert names(tmp_path / "out") == [name]
    monkeypatch.chdir("../out")
    Path(name).rename("first.mkv")
    dry = shift(Path("..", "in", name), Path(name), 120, dry_run=True)
    assert not dry.written and names(tmp_path / "out") == ["first.mkv"]
    subprocess.run(["sh", "-c", dry.command], check=True, cwd="/")
    assert hashes(tmp_path / "out" / name) == hashes(Path("first.mkv").absolute())
    assert names(tmp_path / "out") == sorted(["first.mkv", name])
    assert names(tmp_path / "in") == [name]


# --- Bad sources and offsets -------------------------------------------------------------


def test_a_source_without_its_index_is_refused(made, tmp_path: Path) -> None:
    content = made("plain.mp4").read_bytes()
    (tmp_path / "in.mp4").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(MediaError) as error:
        shift(tmp_path / "in.mp4", tmp_path / "out.mp4", 120)
    one_sentence(error)
    assert names(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("name", ["fast.mp4", "plain.mkv", "plain.ts"])
def test_of_a_source_that_breaks_off_all_that_is_there_is_kept(made, tmp_path: Path, name: str) -> None:
    content = made(name).read_bytes()
    src, dst = tmp_path / f"in{Path(name).suffix}", tmp_path / f"out{Path(name).suffix}"
    src.write_bytes(content[: len(content) * 4 // 5])
    shift(src, dst, 120)
    assert sync_ms(dst) - sync_ms(src) == pytest.approx(120, abs=1)
    old, new = (packets.read_packets(packets.contents(path)) for path in (src, dst))
    assert [(p.count, p.digest) for p in new] == [(p.count, p.digest) for p in old]


def test_both_picture_and_sound_are_needed(tmp_path: Path) -> None:
    run_ffmpeg(*lavfi(PICTURE), *H264, tmp_path / "mute.mp4")
    run_ffmpeg(*lavfi(beep(1000)), tmp_path / "blind.mp4")
    with pytest.raises(MediaError, match="no audio track"):
        shift(tmp_path / "mute.mp4", tmp_path / "out.mp4", 120)
    with pytest.raises(MediaError, match="no picture"):
        shift(tmp_path / "blind.mp4", tmp_path / "out.mp4", 120)
    with pytest.raises(MediaError, match="does not exist"):
        shift(tmp_path / "none.mp4", tmp_path / "out.mp4", 120)


@pytest.mark.parametrize("offset_ms", [math.nan, math.inf, 2500.0, -1e12])
def test_senseless_offsets(made, tmp_path: Path, offset_ms: float) -> None:
    with pytest.raises(UsageError) as error:
        shift(made("plain.mp4"), tmp_path / "out.mp4", offset_ms)
    one_sentence(error)
    assert names(tmp_path) == []


def test_a_track_that_is_not_there(made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        shift(made("rich.mkv"), tmp_path / "out.mkv", 120, check=CheckOptions(audio_track=2))


def test_a_separate_audio_file_cannot_be_moved(made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--audio"):
        shift(made("plain.mkv"), tmp_path / "out.mkv", 120, check=CheckOptions(audio=Path("x.wav")))


def test_an_offset_of_nought_writes_nothing(made, tmp_path: Path) -> None:
    result = shift(made("plain.mp4"), tmp_path / "out.mp4", 0)
    assert not result.written and result.command == "" and names(tmp_path) == []
    shift(made("plain.mp4"), tmp_path / "out.mp4", 0, force=True)
    assert hashes(tmp_path / "out.mp4") == hashes(made("plain.mp4"))


# --- Measured repairs --------------------------------------------------------------------

OUT = Report("in", "out-of-sync", 120.0, 8.0, 0.97, duration_s=60.0)
IN = Report("in", "in-sync", 4.0, 8.0, 0.97, duration_s=60.0)


class Measure:
    """Answers in turn, and remembers what it was asked about."""

    def __init__(self, *answers: Report) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, path: Path) -> Report:
        self.asked.append(path)
        assert path.is_file()
        return self.answers.pop(0)


def repair(made: Callable[[str], Path], folder: Path, measure: Measure, **options: Any) -> fix.FixResult:
    return fix.fix_offset(made("plain.mp4"), folder / "out.mp4", FixOptions(**options), measure=measure)


def test_the_measured_error_is_removed_and_the_result_measured_before_it_appears(
    made, tmp_path: Path
) -> None:
    measure = Measure(OUT, IN)
    result = repair(made, tmp_path, measure)
    assert measure.asked[0] == made("plain.mp4")
    assert measure.asked[1].parent == tmp_path and measure.asked[1].name != "out.mp4"
    assert result.written and result.offset_ms == 120.0
    assert result.report_before == OUT
    assert result.report_after == replace(IN, path=str(tmp_path / "out.mp4"))
    assert "120 ms early" in result.sentence and "4 ms early, within tolerance" in result.sentence
    assert sync_ms(tmp_path / "out.mp4") == pytest.approx(120, abs=1)
    assert names(tmp_path) == ["out.mp4"]


def test_in_tolerance_nothing_is_written_unless_forced(made, tmp_path: Path) -> None:
    result = repair(made, tmp_path, Measure(IN))
    assert not result.written and "within tolerance" in result.sentence and names(tmp_path) == []
    result = repair(made, tmp_path, Measure(IN, IN), force=True)
    assert result.written and result.offset_ms == 4.0


@pytest.mark.parametrize(
    "report",
    [
        Report("in", "cannot-tell", reasons=("no face was found",)),
        Report("in", "mismatch", reasons=("weak peak",)),
        Report("in", "out-of-sync", None, reasons=("parts differ",)),
        replace(OUT, offset_ms=10.0, reasons=("its middle third is 200 ms late",)),
        replace(OUT, drift_ms_per_min=-200.0),
        replace(OUT, contested=True, reasons=("its first third does not fit the rest",)),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_what_no_single_shift_mends_is_left_alone(made, tmp_path: Path, report: Report, force: bool) -> None:
    with pytest.raises(CannotTell) as error:
        repair(made, tmp_path, Measure(report), force=force)
    assert error.value.exit_code == 3 and "nothing is written" in one_sentence(error)
    assert names(tmp_path) == []


def test_drift_is_judged_by_what_it_does_over_the_whole_file(made, tmp_path: Path) -> None:
    """200 ms a minute is 10 ms either way over six seconds: one shift will do."""
    short = replace(OUT, drift_ms_per_min=200.0, duration_s=6.0)
    assert repair(made, tmp_path, Measure(short, IN)).written


def test_a_given_offset_is_trusted(made, tmp_path: Path) -> None:
    assert repair(made, tmp_path, Measure(), offset_ms=-40.0).written


@pytest.mark.parametrize(
    "after", [replace(OUT, offset_ms=240.0), replace(OUT, offset_ms=-120.0), Report("in", "mismatch")]
)
def test_a_result_that_looks_no_better_is_not_kept(made, tmp_path: Path, after: Report) -> None:
    with pytest.raises(CannotTell, match="Measured again") as error:
        repair(made, tmp_path, Measure(OUT, after))
    one_sentence(error)
    assert names(tmp_path) == []


def test_a_result_that_cannot_be_judged_is_kept_and_said(made, tmp_path: Path) -> None:
    after = Report("in", "cannot-tell", reasons=("the evidence is weak",))
    result = repair(made, tmp_path, Measure(OUT, after))
    assert result.written and "After: the evidence is weak" in result.sentence


def test_an_unreadable_measurement_is_a_media_error(made, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be decoded"):
        repair(made, tmp_path, Measure(Report("in", "error", reasons=("it cannot be decoded",))))


def test_an_impossible_target_is_told_before_measuring(made, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        fix.fix_offset(made("pcm.avi"), tmp_path / "out.avi", FixOptions(), measure=never)


def test_a_dry_run_measures_and_writes_nothing(made, tmp_path: Path) -> None:
    result = repair(made, tmp_path, Measure(OUT), dry_run=True)
    assert not result.written and "delay the audio by 120 ms" in result.sentence
    assert "-itsoffset 0.12 " in result.command and names(tmp_path) == []
