"""Clips that differ from the plain one in how they were filmed, edited or stored give the same answer."""

from pathlib import Path

import pytest
from demo_factory import sung_pitch, sung_track, whispered
from media_factory import ffmpeg
from talk_factory import Talk

import avsync
from avsync.bench.distortions import Case, Condition, write_case
from avsync.core.constants import FRAME_MS
from avsync.core.report import Reason
from avsync.demo import speech, voice
from avsync.demo.clip import write_demo

pytestmark = pytest.mark.slow

OFFSET_MS = 120.0
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p")
TOGETHER = ("-c:a", "aac")

EDGES: dict[str, tuple[str, ...]] = {
    "mirrored": ("-vf", "hflip"),
    "letterboxed": ("-vf", "pad=iw:ih*2:0:ih/2"),
    "black in front": (
        "-vf", "tpad=start_duration=1.5:start_mode=add:color=black", "-af", "adelay=1500:all=1"
    ),
    "every frame twice": ("-r", "50"),
    "interlaced": ("-vf", "fps=50,tinterlace=interleave_top", "-flags", "+ilme+ildct"),
    "anamorphic": ("-vf", "scale=iw/2:ih,setsar=2"),
    "mono on one channel": ("-af", "pan=stereo|c0=c0"),
    "phase inverted": ("-af", "pan=stereo|c0=c0|c1=-1*c0"),
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(talk: Talk) -> Path:
    return talk(OFFSET_MS, seed=3, duration_s=8)


@pytest.fixture(scope="module")
def plain_ms(plain: Path) -> float:
    return measured(plain)


def measured(path: Path) -> float:
    report = avsync.check(path, stride=2)
    assert report.verdict == "out-of-sync", report.reasons
    assert report.offset_ms is not None
    return report.offset_ms


def right_or_unsure(path: Path, offset_ms: float) -> None:
    """An answer within a frame of the known error, or none: never a wrong one."""
    report = avsync.check(path, stride=2)
    assert report.verdict in ("out-of-sync", "cannot-tell"), report.reasons
    if report.verdict == "out-of-sync":
        assert report.offset_ms == pytest.approx(offset_ms, abs=FRAME_MS)


def test_the_plain_clip_is_measured(plain_ms: float):
    assert plain_ms == pytest.approx(OFFSET_MS, abs=40)


@pytest.mark.parametrize("edge", EDGES)
def test_the_answer_stays_the_same(plain: Path, plain_ms: float, tmp_path: Path, edge: str):
    ffmpeg("-i", plain, *X264, *TOGETHER, *EDGES[edge], tmp_path / "clip.mp4")
    assert measured(tmp_path / "clip.mp4") == pytest.approx(plain_ms, abs=25)


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_clip_that_players_turn_is_judged_as_they_show_it(
    plain: Path, plain_ms: float, tmp_path: Path, degrees: int
):
    """Filmed sideways, with a mark that says so."""
    turned = {90: "transpose=clock", 180: "hflip,vflip"}[degrees]
    ffmpeg("-i", plain, *X264, "-vf", turned, "-c:a", "copy", tmp_path / "flat.mp4")
    mark = ("-display_rotation:v:0", degrees, "-i", tmp_path / "flat.mp4")
    ffmpeg(*mark, "-c", "copy", tmp_path / "clip.mp4")
    assert measured(tmp_path / "clip.mp4") == pytest.approx(plain_ms, abs=25)


def test_of_several_tracks_the_one_with_speech_is_judged_and_named(
    plain: Path, plain_ms: float, tmp_path: Path
):
    silence = ("-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo")
    maps = ("-map", "0:v", "-map", "1:a", "-map", "0:a", "-c:v", "copy", "-c:a", "aac", "-shortest")
    ffmpeg("-i", plain, *silence, *maps, "-disposition:a:0", "default", tmp_path / "clip.mp4")
    report = avsync.check(tmp_path / "clip.mp4", stride=2)
    assert report.offset_ms == pytest.approx(plain_ms, abs=25)
    assert report.audio_track == 1
    assert Reason("other-audio-track", {"judged": 1, "default": 0}) in report.reasons
    silent = avsync.check(tmp_path / "clip.mp4", audio_track=0)
    assert silent.verdict == "cannot-tell"
    assert silent.reasons[0].kind == "silent"


@pytest.mark.parametrize("speed", [0.5, 1.5, 2.0])
def test_at_another_speed_the_error_shrinks_or_grows_with_it(
    plain: Path, plain_ms: float, tmp_path: Path, speed: float
):
    """Every frame at its exact time: ffmpeg's default would show those of a faster video late."""
    frames = ("-vf", f"settb=1/90000,setpts=PTS/{speed}", "-fps_mode", "passthrough")
    ticks = ("-enc_time_base", "1/90000")
    audio = ("-af", f"atempo={speed}", "-c:a", "pcm_s16le")
    ffmpeg("-i", plain, *X264, *frames, *ticks, *audio, tmp_path / "clip.mkv")
    right_or_unsure(tmp_path / "clip.mkv", plain_ms / speed)


@pytest.mark.parametrize("offset_ms", [OFFSET_MS, -200.0])
def test_a_whisper_is_judged(offset_ms: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Breath instead of the vocal folds, so there is no pitch."""
    monkeypatch.setattr(voice, "_glottis", whispered)
    right_or_unsure(write_demo(tmp_path / "clip.mp4", offset_ms=offset_ms, size=256, seed=3), offset_ms)


@pytest.mark.parametrize("offset_ms", [OFFSET_MS, -200.0])
def test_singing_is_judged(offset_ms: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Long vowels on notes with vibrato, and a mouth that holds them."""
    spoken = speech.speak
    monkeypatch.setattr(speech, "speak", lambda seed, seconds: sung_track(spoken(seed, seconds)))
    monkeypatch.setattr(voice, "_pitch", sung_pitch)
    right_or_unsure(write_demo(tmp_path / "clip.mp4", offset_ms=offset_ms, size=256, seed=3), offset_ms)


@pytest.mark.parametrize("music_db", [0.0, -12.0])
def test_strong_music_hides_the_speech_rather_than_moving_it(plain: Path, tmp_path: Path, music_db: float):
    """As loud as the speech, and four times as loud."""
    write_case(Case(plain, 0.0, None, Condition(music_db=music_db)), tmp_path / "clip.mp4")
    right_or_unsure(tmp_path / "clip.mp4", OFFSET_MS)


@pytest.mark.parametrize("offset_ms", [OFFSET_MS, -200.0])
def test_a_webcam_of_eight_frames_a_second_is_judged(offset_ms: float, tmp_path: Path):
    right_or_unsure(
        write_demo(tmp_path / "clip.mp4", offset_ms=offset_ms, size=256, seed=3, fps=8), offset_ms
    )


def test_a_slate_with_a_tone_in_front_changes_nothing(plain: Path, plain_ms: float, tmp_path: Path):
    bars = ("-f", "lavfi", "-i", "smptebars=s=256x256:r=25:d=2")
    tone = ("-f", "lavfi", "-i", "sine=1000:r=16000:d=2")
    joined = "[1:v]setsar=1[b];[0:v]setsar=1[v];[b][2:a][v][0:a]concat=n=2:v=1:a=1"
    ffmpeg("-i", plain, *bars, *tone, "-filter_complex", joined, *X264, *TOGETHER, tmp_path / "clip.mp4")
    assert measured(tmp_path / "clip.mp4") == pytest.approx(plain_ms, abs=25)


def test_ten_bit_hdr_is_judged(plain: Path, plain_ms: float, tmp_path: Path):
    colours = ("-color_trc", "smpte2084", "-color_primaries", "bt2020", "-colorspace", "bt2020nc")
    ffmpeg("-i", plain, *X264, "-pix_fmt", "yuv420p10le", *colours, *TOGETHER, tmp_path / "clip.mp4")
    assert measured(tmp_path / "clip.mp4") == pytest.approx(plain_ms, abs=25)


def test_claps_are_not_speech_and_give_no_answer(plain: Path, tmp_path: Path):
    claps = "aeval='if(between(mod(t,2),0.5,0.52),random(0)-0.5,0)':c=same"
    ffmpeg("-i", plain, "-c:v", "copy", "-af", claps, *TOGETHER, tmp_path / "clip.mp4")
    report = avsync.check(tmp_path / "clip.mp4", stride=2)
    assert report.verdict == "cannot-tell"
    assert report.speech_s is not None and report.speech_s < 0.5


def test_recordings_joined_byte_by_byte_are_both_judged_and_the_jump_is_noted(plain: Path, tmp_path: Path):
    part, joined = tmp_path / "part.ts", tmp_path / "joined.ts"
    ffmpeg("-i", plain, *X264, "-c:a", "aac", part)
    joined.write_bytes(2 * part.read_bytes())
    report, once_s = avsync.check(joined, stride=3), avsync.check(part, stride=3).duration_s
    assert once_s is not None and report.duration_s == pytest.approx(2 * once_s, abs=0.1)
    assert report.offset_ms == pytest.approx(OFFSET_MS, abs=FRAME_MS)
    (note,) = [reason for reason in report.reasons if reason.kind == "clock-jumps"]
    assert note.values == {
        **{"jumps": 1, "at_s": [pytest.approx(once_s, abs=0.1)], "stray": 0},
        **{"cut_at_bytes": [pytest.approx(part.stat().st_size, abs=188)], "in_place": True},
    }


@pytest.mark.parametrize("suffix", ["mp4", "flv"])
def test_a_recording_behind_the_first_is_judged_too(plain: Path, tmp_path: Path, suffix: str):
    """Joined byte by byte, where the structure of the first part ends its reading."""
    part = tmp_path / f"part.{suffix}"
    ffmpeg("-i", plain, *X264, *TOGETHER, part)
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(2 * part.read_bytes())
    alone, report = avsync.check(part), avsync.check(joined)
    assert report.duration_s == pytest.approx(2 * (alone.duration_s or 0), abs=0.2)
    assert report.speech_judged_s == pytest.approx(2 * (alone.speech_judged_s or 0), abs=1)
    assert "unread-end" not in {reason.kind for reason in report.reasons}


def test_a_part_that_the_container_hides_is_not_passed_over(plain: Path, tmp_path: Path):
    """Behind an MP4 lies a recording in another container: never "in sync"."""
    parts = tmp_path / "part.mp4", tmp_path / "part.mkv"
    for part in parts:
        ffmpeg("-i", plain, *X264, *TOGETHER, part)
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert "unread-end" not in {reason.kind for reason in avsync.check(parts[0]).reasons}
    report = avsync.check(joined)
    assert report.verdict != "in-sync"
    assert "unread-end" in {reason.kind for reason in report.reasons}
