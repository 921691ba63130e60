"""Altered copies: shifted as told, whatever else they go through."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_factory import bar_clip, click
from talk_factory import Talk

from avsync.audio import waveform
from avsync.bench.distortions import (
    ENCODINGS,
    FRAME_RATES,
    Case,
    Condition,
    find_clips,
    parse_conditions,
    parse_rates,
    plan_cases,
    suffix,
    write_case,
)
from avsync.core.errors import MediaError, UsageError
from avsync.data.labels import read_delays
from avsync.media.probe import probe


def test_every_clip_is_shifted_across_the_whole_range_at_every_frame_rate() -> None:
    cases = plan_cases([Path("a.mp4"), Path("b.mp4")], 5)
    assert len(cases) == 10
    for clip in ("a.mp4", "b.mp4"):
        shifts = sorted(c.shift_ms for c in cases if c.clip.name == clip)
        assert all(-400 + 160 * i <= s <= -240 + 160 * i for i, s in enumerate(shifts))
    assert {c.fps for c in cases} == set(FRAME_RATES)
    assert plan_cases([Path("a.mp4")], 5) == plan_cases([Path("a.mp4")], 5)


@pytest.mark.parametrize("shift_ms", [-240.0, 240.0])
def test_the_copy_has_its_shift_and_frame_rate(shift_ms: float, talk: Talk, tmp_path: Path) -> None:
    clip = talk(duration_s=2)
    copy = tmp_path / "copy.mp4"
    write_case(Case(clip, shift_ms, Fraction(30)), copy)
    before, after = probe(clip), probe(copy)
    assert after.video and after.video.fps == 30
    assert after.audio[0].duration_s and before.audio[0].duration_s
    longer = after.audio[0].duration_s - before.audio[0].duration_s
    assert longer == pytest.approx(-shift_ms / 1000, abs=0.05)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("no video")
    with pytest.raises(UsageError, match="no video"):
        find_clips(tmp_path)
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        write_case(Case(tmp_path / "bad.mp4", 0.0, None), tmp_path / "copy.mp4")


def click_s(video: Path) -> float:
    """When the click begins in a file, by the clock of the video."""
    audio = waveform.waveform(probe(video))
    loud = np.abs(audio.samples)
    return audio.start_s + int(np.argmax(loud > 0.5 * loud.max())) / 16_000


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shift_ms", [-200.0, 300.0])
def test_every_encoding_keeps_the_clock(encoding: str, shift_ms: float, tmp_path: Path) -> None:
    audio = ("-f", "lavfi", "-i", click(1.5))
    clip = bar_clip(tmp_path / "clip.mp4", "-c:a", "aac", inputs=audio, size=(320, 64))
    case = Case(clip, shift_ms, None, Condition(encoding))
    copy = tmp_path / f"copy{suffix(case)}"
    write_case(case, copy)
    assert click_s(copy) == pytest.approx(1.5 - shift_ms / 1000, abs=0.008)


@pytest.mark.slow
@pytest.mark.parametrize("condition", [Condition(noise_db=10), Condition(music_db=10)])
def test_noise_and_music_have_the_asked_level_under_the_speech(
    condition: Condition, talk: Talk, tmp_path: Path
) -> None:
    clip = talk()
    clean, mixed = tmp_path / "clean.mp4", tmp_path / "mixed.mp4"
    write_case(Case(clip, 0.0, None), clean)
    write_case(Case(clip, 0.0, None, condition), mixed)
    speech, both = (waveform.waveform(probe(path)).samples for path in (clean, mixed))
    n = min(len(speech), len(both))
    under = 2 * both[:n] - speech[:n]  # the mixture is halved, so that it does not clip
    ratio = 10 * np.log10(np.mean(speech[:n] ** 2) / np.mean(under**2))
    assert ratio == pytest.approx(10, abs=1.5)


def test_conditions_differ_in_nothing_but_themselves() -> None:
    cases = plan_cases([Path("a.mp4")], 4, parse_conditions("h264,vp9", "10", "5,0"))
    assert [c.condition.name for c in cases[::4]] == [
        "h264",
        "vp9",
        "noise 10 dB",
        "music 5 dB",
        "music 0 dB",
    ]
    assert len({tuple((c.shift_ms, c.fps) for c in cases[i : i + 4]) for i in range(0, 20, 4)}) == 1


def test_a_clip_s_own_error_adds_to_what_is_done_to_it(tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text('{"a": -158, "other": 3}')
    known = read_delays(str(tmp_path / "known.json"))
    cases = plan_cases([Path("a.mp4"), Path("b.mp4")], 2, known=known)
    plain = plan_cases([Path("a.mp4"), Path("b.mp4")], 2)
    assert [c.shift_ms for c in cases] == [c.shift_ms for c in plain]
    assert [c.early_ms - c.shift_ms for c in cases] == [-158, -158, 0, 0]
    assert read_delays(None) == {}


@pytest.mark.parametrize("text", ["[1, 2]", '{"a": "late"}', "words", '{"a": {"offset_ms": 3}}'])
def test_known_errors_that_are_not_numbers_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text(text)
    with pytest.raises(UsageError, match=r"known\.json cannot be read"):
        read_delays(str(tmp_path / "known.json"))


def test_rates_are_taken_in_turn() -> None:
    rates = parse_rates("30000/1001, own")
    assert rates == (Fraction(30000, 1001), None)
    assert [c.fps for c in plan_cases([Path("a.mp4")], 3, rates=rates)] == [rates[0], None, rates[0]]


@pytest.mark.parametrize("words", [("divx", "", ""), ("", "loud", ""), ("h264", "", "x"), ("", "", "")])
def test_unknown_conditions_are_refused(words: tuple[str, str, str]) -> None:
    with pytest.raises(UsageError):
        parse_conditions(*words)


@pytest.mark.parametrize("text", ["fast", "0", "1/0", "1000"])
def test_impossible_rates_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rates(text)
