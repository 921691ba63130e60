"""Video and audio stay on one clock where containers make that hard: joints, cuts inside frames, fragments,
edit lists, and headers that claim a false length."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from media_factory import MPEG2, X264, bar_and_click, bar_clip, bar_time, click, ffmpeg
from timestamps import in_flv, in_mkv, in_one_stream, in_ts, pes_of

from avsync import fix_offset
from avsync.audio.waveform import waveform
from avsync.core.errors import MediaError
from avsync.core.streams import Media
from avsync.media.decode import Damage, decoded
from avsync.media.frames import frames
from avsync.media.probe import probe

CLICK_S = 1.5
TOLERANCE_MS = 2.0
PLAIN = (*X264, "-bf", "0", "-g", "25", "-c:a", "aac")
B_FRAMES = (*X264, "-bf", "2", "-g", "25", "-c:a", "aac")
ONE_GROUP = (*X264, "-bf", "0", "-g", "300", "-c:a", "aac")


def bars(media: Media) -> list[tuple[float, float]]:
    """When each frame is shown, and the time that its bar shows, in seconds."""
    assert media.video is not None
    return [
        (time_s, bar_time(frame.to_ndarray(format="rgb24")))
        for time_s, _, frame in decoded(media, media.video.index, Damage())
    ]


def lags_ms(media: Media) -> list[float]:
    """By how much the click sounds late against the video, in each piece."""
    shown = bars(media)
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


@pytest.mark.parametrize(
    "codec", [(*X264, "-preset", "medium"), MPEG2, ("-c:v", "mpeg4", "-q:v", "2")], ids=str
)
@pytest.mark.parametrize("b_frames", [0, 1, 2])
def test_avi_is_shown_as_its_decoder_gives_it(tmp_path: Path, codec: tuple[str, ...], b_frames: int) -> None:
    """It stores no times of presentation: the first frame is shown after as many packets as its decoder holds
    back, and the audio begins at 0 all the same."""
    packets_back = b_frames if "libx264" in codec else 1 if codec == MPEG2 else min(b_frames, 1)
    clip = bar_and_click(tmp_path / "a.avi", codec=(*codec, "-bf", str(b_frames), "-c:a", "pcm_s16le"))
    assert lags_ms(probe(clip)) == [pytest.approx(-40 * packets_back, abs=TOLERANCE_MS)]


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["10", "12.5", "15", "24000/1001"])
@pytest.mark.parametrize("name", ["cut.mp4", "cut.mov"])
def test_a_cut_inside_a_frame_keeps_the_frames_own_times(tmp_path: Path, rate: str, name: str) -> None:
    whole = bar_and_click(tmp_path / "whole.mp4", rate=rate, codec=ONE_GROUP)
    ffmpeg("-ss", "0.77", "-i", whole, "-c", "copy", tmp_path / name)
    assert lags_ms(probe(tmp_path / name)) == [pytest.approx(0, abs=TOLERANCE_MS)]


@pytest.mark.parametrize("codec", ["alac", "flac", "aac", "pcm_s16le", "wavpack"])
@pytest.mark.parametrize("begin_s", ["1.27", "1.3", "1.351"])
def test_no_audio_is_lost_where_an_edit_list_hides_its_beginning(
    tmp_path: Path, codec: str, begin_s: str
) -> None:
    """A decoder with several threads loses every second frame after hidden ones."""
    suffix = {"wavpack": "mkv", "flac": "mp4"}.get(codec, "mov")
    whole = clapped(tmp_path / f"whole.{suffix}", (*X264, "-bf", "0", "-g", "300", "-c:a", codec))
    ffmpeg("-ss", begin_s, "-i", whole, "-c", "copy", tmp_path / f"cut.{suffix}")
    lags = clap_lags_ms(probe(tmp_path / f"cut.{suffix}"))
    assert len(lags) >= 4 and lags == pytest.approx([0] * len(lags), abs=1.5 * TOLERANCE_MS)


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(("frag_keyframe+empty_moov+delay_moov",), id="a group of frames each"),
        pytest.param(("empty_moov+delay_moov", "-frag_duration", "300000"), id="0.3 s each"),
        pytest.param(("frag_keyframe+empty_moov",), id="no edit list"),
        pytest.param(("frag_every_frame+delay_moov",), id="a frame each"),
        pytest.param(("frag_keyframe+delay_moov+negative_cts_offsets",), id="offsets below zero"),
    ],
)
@pytest.mark.parametrize("late_s", [0.0, 0.3])
def test_fragments_of_any_size_have_the_priming_left_out_once(
    tmp_path: Path, flags: tuple[str, ...], late_s: float
) -> None:
    whole = bar_and_click(tmp_path / "whole.mp4", audio_delay_s=late_s, codec=B_FRAMES)
    ffmpeg("-i", whole, "-c", "copy", "-movflags", *flags, tmp_path / "fragments.mp4")
    assert lags_ms(probe(tmp_path / "fragments.mp4")) == [pytest.approx(1000 * late_s, abs=TOLERANCE_MS)]


@pytest.mark.parametrize("flags", ["cmaf", "frag_keyframe+empty_moov+negative_cts_offsets"])
def test_priming_of_which_a_file_says_nothing_is_heard_as_players_play_it(tmp_path: Path, flags: str) -> None:
    whole = bar_and_click(tmp_path / "whole.mp4", codec=B_FRAMES)
    ffmpeg("-i", whole, "-c", "copy", "-movflags", flags, tmp_path / "fragments.mp4")
    primed_ms = 1000 * PRIMING / AUDIO_UNITS
    assert lags_ms(probe(tmp_path / "fragments.mp4")) == [pytest.approx(primed_ms, abs=TOLERANCE_MS)]


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


def with_edits(source: Path, target: Path, edits: list[list[tuple[float, int]]], speed: float = 1) -> Path:
    """A copy whose tracks have these edits: seconds shown, and from where in units of the track (-1: nothing
    is shown). Its index must lie at the end, or it must be in fragments."""
    top = boxes(source.read_bytes(), 0, source.stat().st_size)
    moov = next(whole for name, whole in top if name == b"moov")
    inside = boxes(moov, 8, len(moov))
    header = next(whole for name, whole in inside if name == b"mvhd")
    unit = struct.unpack_from(">I", header, 20)[0]
    tracks = iter(edits)
    index = b""
    for name, whole in inside:
        if name == b"trak":
            rows = next(tracks)
            table = struct.pack(">II", 0, len(rows)) + b"".join(
                struct.pack(">IiI", round(length_s * unit), begin, round(0x10000 * speed))
                for length_s, begin in rows
            )
            edit = box(b"edts", box(b"elst", table))
            parts = [part for kind, part in boxes(whole, 8, len(whole)) if kind != b"edts"]
            index += box(b"trak", parts[0] + edit + b"".join(parts[1:]))
        else:
            index += whole
    target.write_bytes(b"".join(box(b"moov", index) if name == b"moov" else whole for name, whole in top))
    return target


VIDEO_UNITS, AUDIO_UNITS, PRIMING = 12800, 48000, 1024
B_FRAMES_DELAY = 1024


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


def clap_lags_ms(media: Media) -> list[float]:
    """By how much each click sounds late, of those that sound half a second after every full one."""
    shown = bars(media)
    audio = waveform(media)
    loud = np.flatnonzero(np.abs(np.asarray(audio.samples)) > 0.2)
    clicks_s = audio.start_s + loud[np.diff(loud, prepend=-16_000) > 4000] / 16_000
    nearest = [min(shown, key=lambda both: abs(both[0] - click_s)) for click_s in clicks_s]
    seen = [bar_s + click_s - time_s for click_s, (time_s, bar_s) in zip(clicks_s, nearest, strict=True)]
    return [1000 * (time_s - round(time_s - 0.5) - 0.5) for time_s in seen]


def clapped(path: Path, codec: tuple[str, ...] = B_FRAMES) -> Path:
    """5.6 s with a click half a second after every full one."""
    tone = "aevalsrc='if(between(mod(t,1),0.5,0.51),0.5*sin(2*PI*1000*(mod(t,1)-0.5)),0)':s=48000:d=6"
    return bar_clip(path, seconds=5.6, inputs=("-f", "lavfi", "-i", tone), codec=codec)


CUTS = {
    "two": [(0.0, 2.1), (3.013, 2.0)],
    "three": [(0.213, 1.1), (2.013, 1.0), (3.217, 2.0)],
    "nothing, then two": [(None, 0.5), (0.0, 2.1), (3.013, 2.0)],
    "nothing in between": [(0.0, 2.1), (None, 0.5), (3.013, 2.0)],
}


def edits_of(cuts: list, units: int, priming: int = 0) -> list[tuple[float, int]]:
    return [
        (length_s, -1 if begin_s is None else priming + round(units * begin_s)) for begin_s, length_s in cuts
    ]


@pytest.mark.parametrize("fragmented", [False, True])
@pytest.mark.parametrize("cuts", [pytest.param(cuts, id=name) for name, cuts in CUTS.items()])
@pytest.mark.parametrize("late_s", [0.0, 0.1])
def test_several_edits_of_a_track_are_each_followed_to_the_sample(
    tmp_path: Path, cuts: list, fragmented: bool, late_s: float
) -> None:
    whole = clapped(tmp_path / "whole.mp4")
    if fragmented:
        flags = "frag_keyframe+empty_moov+delay_moov+default_base_moof"
        ffmpeg("-i", whole, "-c", "copy", "-movflags", flags, tmp_path / "f.mp4")
        whole = tmp_path / "f.mp4"
    moved = B_FRAMES_DELAY + round(VIDEO_UNITS * late_s)
    rows = [edits_of(cuts, VIDEO_UNITS, moved), edits_of(cuts, AUDIO_UNITS, PRIMING)]
    cut = with_edits(whole, tmp_path / "cut.mp4", rows)
    lags = clap_lags_ms(probe(cut))
    assert len(lags) >= 4 and lags == pytest.approx([1000 * late_s] * len(lags), abs=TOLERANCE_MS)


def test_what_an_edit_hides_in_fragments_is_not_shown(tmp_path: Path) -> None:
    """As `ffmpeg -ss 2.6 -c copy` writes it: from the key frame before on."""
    whole = clapped(tmp_path / "whole.mp4")
    flags = "frag_keyframe+empty_moov+delay_moov+default_base_moof"
    ffmpeg("-ss", "2.6", "-i", whole, "-c", "copy", "-movflags", flags, tmp_path / "cut.mp4")
    media = probe(tmp_path / "cut.mp4")
    assert media.video is not None and 0 <= media.video.start_s <= 0.04
    assert media.duration_s == pytest.approx(6.0 - 2.6, abs=0.05)
    lags = clap_lags_ms(media)
    assert lags == pytest.approx([0] * len(lags), abs=TOLERANCE_MS) and len(lags) == 3


@pytest.mark.parametrize(("cuts", "speed"), [([(3.0, 1.0), (1.0, 1.0)], 1), ([(0.0, 2.0), (2.0, 2.0)], 2)])
def test_edits_in_another_order_or_at_another_speed_are_refused(
    tmp_path: Path, cuts: list, speed: float
) -> None:
    rows = [edits_of(cuts, VIDEO_UNITS), edits_of(cuts, AUDIO_UNITS)]
    cut = with_edits(clapped(tmp_path / "whole.mp4"), tmp_path / "cut.mp4", rows, speed)
    with pytest.raises(MediaError, match="export it as a plain video"):
        probe(cut)


def test_no_repair_is_tried_that_would_not_be_exact(tmp_path: Path) -> None:
    rows = [edits_of(CUTS["two"], VIDEO_UNITS, B_FRAMES_DELAY), edits_of(CUTS["two"], AUDIO_UNITS, PRIMING)]
    cut = with_edits(clapped(tmp_path / "whole.mp4"), tmp_path / "cut.mp4", rows)
    with pytest.raises(MediaError, match="export it as a plain video"):
        fix_offset(cut, tmp_path / "out.mp4", offset_ms=100)


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


# --- Timestamps that are wrong --------------------------------------------------------------

HOURS_S = 36_000.0
WRONG: dict[str, dict[tuple[str, int], float]] = {
    "video, hours ahead": {("video", 60): HOURS_S},
    "audio, hours ahead": {("audio", 100): HOURS_S},
    "both, hours ahead": {("video", 60): HOURS_S, ("audio", 100): HOURS_S},
    "video, seconds ahead": {("video", 60): 3.0},
    "audio, seconds ahead": {("audio", 100): 30.0},
    "video, back": {("video", 60): -1.5},
    "audio, back": {("audio", 100): -1.5},
    "several": {("video", 40): HOURS_S, ("video", 60): 2 * HOURS_S, ("video", 90): -1.0},
    "the second frame": {("video", 1): HOURS_S},
    "the last frame": {("video", 99): HOURS_S},
}


@pytest.mark.parametrize("name", ["a.flv", "a.ts"])
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(moves, id=name, marks=pytest.mark.slow if " " in name else ())
        for name, moves in WRONG.items()
    ],
)
def test_wrong_timestamps_cost_their_packets_and_nothing_else(
    tmp_path: Path, name: str, wrong: dict[tuple[str, int], float]
) -> None:
    codec = (*X264, "-bf", "2", "-g", "25", "-c:a", "mp2" if name.endswith("ts") else "aac")
    path = bar_and_click(tmp_path / name, "-pes_payload_size", "0", audio_delay_s=0.2, codec=codec)
    length_s = probe(path).duration_s

    def at(kind: str, number: int, time_s: float) -> float | None:
        move_s = wrong.get((kind, number))
        return None if move_s is None else time_s + move_s

    media = probe((in_ts if name.endswith("ts") else in_flv)(path, at))
    assert len(media.pieces) == 1 and len(media.wild) == len(wrong)
    assert media.duration_s == pytest.approx(length_s, abs=0.5)
    assert lags_ms(media) == [pytest.approx(200, abs=TOLERANCE_MS)]
    assert len(list(frames(media))) <= 26 * length_s


ENDS: dict[str, dict[tuple[str, int], float]] = {
    "the first frame": {("video", 0): -3.0},
    "the first of the audio": {("audio", 0): -3.0},
    "two frames": {("video", 0): -3.0, ("video", 1): -3.0},
    "the first of both": {("video", 0): -3.0, ("audio", 0): -3.0},
    "by little": {("video", 0): -1.2},
    "the last frame": {("video", -1): 20.0},
}


@pytest.mark.parametrize("wrong", [pytest.param(moves, id=name) for name, moves in ENDS.items()])
@pytest.mark.parametrize("name", ["a.flv", "a.mkv"])
@pytest.mark.parametrize(("rate", "b_frames"), [("25", 2), ("25", 0), ("10", 2)])
def test_a_first_or_last_timestamp_far_from_all_others_makes_no_pause(
    tmp_path: Path, name: str, wrong: dict[tuple[str, int], float], rate: str, b_frames: int
) -> None:
    codec = (*X264, "-bf", str(b_frames), "-g", "25", "-c:a", "aac")
    plain = bar_and_click(tmp_path / f"plain-{name}", rate=rate, audio_delay_s=0.2, codec=codec)
    path = tmp_path / name
    ffmpeg("-itsoffset", "10", "-i", plain, "-c", "copy", "-copyts", path)
    right = probe(path)
    header = int(name.endswith("flv"))  # FLV's first tag of each stream is its decoder's configuration
    last = round(4 * float(rate)) - 1

    def at(kind: str, number: int, time_s: float) -> float | None:
        number -= header
        move_s = wrong.get((kind, -1 if kind == "video" and number == last else number))
        return None if move_s is None else time_s + move_s

    media = probe((in_flv if header else in_mkv)(path, at))
    assert media.video is not None and right.video is not None
    assert len(media.pieces) == 1 and len(media.wild) == len(wrong)
    assert media.duration_s == pytest.approx(right.duration_s, abs=0.3)
    assert media.video.start_s == pytest.approx(right.video.start_s, abs=0.31)
    assert media.audio[0].start_s == pytest.approx(right.audio[0].start_s, abs=0.03)
    assert lags_ms(media) == [pytest.approx(200, abs=TOLERANCE_MS)]


def test_a_pause_that_another_stream_fills_is_one(tmp_path: Path) -> None:
    """A frozen frame, while someone speaks."""
    path = bar_and_click(tmp_path / "a.mkv", audio_delay_s=0.2, codec=B_FRAMES)
    in_mkv(path, lambda kind, number, _: 1.5 if kind == "video" and number > 0 else None)
    media = probe(path)
    assert media.video is not None
    assert not media.wild and media.video.start_s == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("number", "move_s"),
    [(n, HOURS_S) for n in (0, 1, 3, -1)] + [(n, move_s) for n in (0, 1, 3) for move_s in (3.0, -3.0)],
)
def test_a_timestamp_of_many_frames_of_audio_costs_these_and_nothing_else(
    tmp_path: Path, number: int, move_s: float
) -> None:
    """A packet (PES) of a transport stream holds half a second of audio or more, with a single timestamp."""
    codec = (*X264, "-bf", "2", "-g", "25", "-c:a", "aac", "-b:a", "32k")
    path = bar_and_click(tmp_path / "a.ts", audio_delay_s=0.2, click_s=2.9, codec=codec)
    packets = sum(1 for _ in pes_of(path, 257))

    def at(kind: str, which: int, time_s: float) -> float | None:
        return time_s + move_s if (kind, which) == ("audio", number % packets) else None

    media = probe(in_ts(path, at))
    assert len(media.pieces) == 1 and 0 < len(media.wild) < 60
    assert media.duration_s == pytest.approx(4.2, abs=0.7)
    assert lags_ms(media) == [pytest.approx(200 + 1400, abs=TOLERANCE_MS)]


def with_offset(path: Path, sample: int, seconds: float) -> Path:
    """The same MP4 with the composition offset of one frame of its video changed, and no edit lists."""
    top = boxes(path.read_bytes(), 0, path.stat().st_size)

    def changed(name: bytes, whole: bytes) -> bytes:
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            inside = [(kind, part) for kind, part in boxes(whole, 8, len(whole)) if kind != b"edts"]
            return box(name, b"".join(changed(*part) for part in inside))
        if name != b"ctts":
            return whole
        count = struct.unpack_from(">I", whole, 12)[0]
        rows = [struct.unpack_from(">Ii", whole, 16 + 8 * n) for n in range(count)]
        offsets = [offset for times, offset in rows for _ in range(times)]
        offsets[sample] += round(seconds * VIDEO_UNITS)
        table = b"".join(struct.pack(">Ii", 1, offset) for offset in offsets)
        return box(name, struct.pack(">II", 0, len(offsets)) + table)

    path.write_bytes(b"".join(changed(*part) for part in top))
    return path


@pytest.mark.parametrize(
    ("sample", "seconds"),
    [(0, 108_000.0), (0, 3.0), (0, 9.0), (60, 3.0), (60, 8.0), (60, 108_000.0), (99, 8.0), (99, 108_000.0)],
)
def test_a_frame_that_mp4_presents_at_a_wrong_time_makes_no_hours(
    tmp_path: Path, sample: int, seconds: float
) -> None:
    path = bar_and_click(tmp_path / "a.mp4", codec=B_FRAMES)
    media = probe(with_offset(path, sample, seconds))
    # A file without edit lists begins with the delay that B-frames need.
    assert media.video is not None and media.video.start_s < 0.2
    assert 96 <= len(list(frames(media))) <= 101 + (200 if sample == 99 else 0)


@pytest.mark.parametrize("suffix", [".flv", ".mkv"])
@pytest.mark.parametrize("wrong", [("video", 60), ("audio", 100)])
@pytest.mark.parametrize(("move_s", "offset_ms"), [(3.0, 100), (-1.5, 100), (3.0, -87), (20.0, -300)])
def test_wrong_timestamps_stay_where_the_others_are_shifted(
    tmp_path: Path, suffix: str, wrong: tuple[str, int], move_s: float, offset_ms: int
) -> None:
    path = bar_and_click(tmp_path / f"a{suffix}", audio_delay_s=0.2, codec=B_FRAMES)

    def at(kind: str, number: int, time_s: float) -> float | None:
        return time_s + move_s if (kind, number) == wrong else None

    before = probe((in_flv if suffix == ".flv" else in_mkv)(path, at))
    assert len(before.wild) == 1
    out = tmp_path / f"out{suffix}"
    result = fix_offset(path, out, offset_ms=offset_ms)
    after = probe(out)
    assert lags_ms(after) == [pytest.approx(lags_ms(before)[0] + offset_ms, abs=1.5 * TOLERANCE_MS)]
    assert len(after.wild) == 1 and "ffmpeg" not in result.settings
    changed = np.frombuffer(path.read_bytes(), np.uint8) != np.frombuffer(out.read_bytes(), np.uint8)
    assert 0 < changed.sum() < 0.04 * len(changed)


@pytest.mark.parametrize(("sample", "seconds"), [(0, 3.0), (60, 3.0), (60, 108_000.0)])
@pytest.mark.parametrize("offset_ms", [100, -87])
def test_where_mp4_presents_a_frame_at_a_wrong_time_its_edit_list_is_changed(
    tmp_path: Path, sample: int, seconds: float, offset_ms: int
) -> None:
    path = with_offset(bar_and_click(tmp_path / "a.mp4", audio_delay_s=0.2, codec=B_FRAMES), sample, seconds)
    before = lags_ms(probe(path))
    fix_offset(path, tmp_path / "out.mp4", offset_ms=offset_ms)
    after = lags_ms(probe(tmp_path / "out.mp4"))
    assert after == [pytest.approx(before[0] + offset_ms, abs=3 * TOLERANCE_MS)]


def test_another_format_for_a_wrong_timestamp_is_refused_with_advice_that_works(tmp_path: Path) -> None:
    path = with_offset(bar_and_click(tmp_path / "a.mp4", codec=B_FRAMES), 60, 3.0)
    with pytest.raises(MediaError, match=r"choose a target that ends in \.mp4\."):
        fix_offset(path, tmp_path / "out.mkv", offset_ms=100)


# --- Programs -------------------------------------------------------------------------------


@pytest.mark.parametrize("clock_s", [0, 50, 50_000])
@pytest.mark.parametrize("first", ["radio", "tv"])
def test_the_audio_is_that_of_the_videos_program_and_on_its_clock(
    tmp_path: Path, clock_s: int, first: str
) -> None:
    """Programs of a transport stream need not share a clock, and one may be radio."""
    own = ("-mpegts_start_pid", "512", "-mpegts_pmt_start_pid", "4352", "-mpegts_service_id", "2")
    late = ("-output_ts_offset", clock_s) if clock_s else ()
    mp2 = (*X264, "-bf", "2", "-c:a", "mp2")
    tv = bar_and_click(tmp_path / "tv.ts", *own, *late, audio_delay_s=0.2, codec=mp2)
    radio = tmp_path / "radio.ts"
    ffmpeg("-f", "lavfi", "-i", click(0.5), "-c:a", "mp2", radio)
    parts = [(radio, 1, 4096), (tv, 2, 4352)]
    media = probe(in_one_stream(parts if first == "radio" else parts[::-1], tmp_path / "both.ts"))
    assert len(media.audio) == 1 and media.duration_s == pytest.approx(4.1, abs=0.3)
    assert lags_ms(media) == [pytest.approx(200, abs=TOLERANCE_MS)]


# --- Joined by ffmpeg -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.flv"])
def test_parts_that_ffmpeg_joined_are_each_where_their_timestamps_say(tmp_path: Path, name: str) -> None:
    """A part of 3.01 s ends inside a frame of its audio: the next one is a slip of some ms."""
    suffix = Path(name).suffix
    codec = (*X264, "-bf", "2", "-g", "25", "-c:a", "aac")
    for number, late_s in enumerate((0.0, 0.2, 0.0)):
        bar_and_click(tmp_path / f"{number}{suffix}", "-t", "3.01", audio_delay_s=late_s, codec=codec)
    (tmp_path / "list.txt").write_text("".join(f"file '{n}{suffix}'\n" for n in range(3)))
    ffmpeg("-f", "concat", "-safe", "0", "-i", tmp_path / "list.txt", "-c", "copy", tmp_path / name)
    media = probe(tmp_path / name)
    shown = bars(media)
    audio = waveform(media)
    loud = np.flatnonzero(np.abs(np.asarray(audio.samples)) > 0.2)
    clicks_s = audio.start_s + loud[np.diff(loud, prepend=-16_000) > 8000] / 16_000
    lags = []
    for click_s in clicks_s:
        time_s, bar_s = min(shown, key=lambda both: abs(both[0] - click_s))
        lags.append(1000 * (bar_s + click_s - time_s - CLICK_S))
    assert lags == pytest.approx([0, 200, 0], abs=2 * TOLERANCE_MS)
