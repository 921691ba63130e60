"""A shift moves times and nothing else: every stream, packet, chapter and tag of the source survives it."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from av.stream import Disposition
from fix_factory import RECIPES, hashes, names, one_sentence, shift, sync_ms
from hypothesis import given
from hypothesis import strategies as st

from avsync.core.errors import MediaError, UsageError
from avsync.core.options import CheckOptions
from avsync.media.probe import probe
from avsync.repair import packets, remux
from avsync.repair.packets import Contents, Stream

# --- The shift ---------------------------------------------------------------------------

CONTAINERS = [*(name for name in RECIPES if not name.endswith(".avi")), "rich.mkv", "rich.mp4"]


@pytest.mark.parametrize("offset_ms", [120.0, pytest.param(-87.0, marks=pytest.mark.slow)])
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


def test_avi_is_refused_as_a_target(made, tmp_path: Path) -> None:
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


def test_audio_that_can_start_earlier_does_so_and_the_video_stays(made, tmp_path: Path) -> None:
    late = tmp_path / "late.mkv"
    shift(made("plain.mkv"), late, 500)
    shift(late, tmp_path / "out.mkv", -200)
    video, audio = probe(tmp_path / "out.mkv").video, probe(tmp_path / "out.mkv").audio[0]
    assert video is not None and video.start_s == 0
    assert audio.start_s == pytest.approx(0.3, abs=0.03)


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
    video_s = max(0.0, -offset_ms / 1000)
    assert [c.start_s - video_s for c in new.chapters] == pytest.approx([0, 0.9, 1.5], abs=0.001)
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
    video_s = max(0.0, -offset_ms / 1000)
    assert [c.start_s - video_s for c in new.chapters[1:]] == pytest.approx([0.9, 1.5], abs=0.001)
    assert new.tags["title"] == "My film" and new.tags["artist"] == "Ann"
    video = probe(dst).video
    assert video is not None and abs(video.rotation_deg) == 90
    assert dst.read_bytes().index(b"moov") < dst.read_bytes().index(b"mdat")
    subtitles = [p for p in packets.read_packets(new) if p.stream.kind == "subtitle"]
    assert subtitles[0].times_s[:, 0] - video_s == pytest.approx([1.0, 1.5], abs=0.002)


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
