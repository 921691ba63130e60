"""The overlay: what is drawn where, in sync with what was judged, and whole or not at all."""

import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clap_factory import PAIRS, clap, lag_ms
from media_factory import bar_and_click, ffmpeg
from report_factory import FAULT, a_report

from avsync.audio import full
from avsync.core.errors import AvsyncError, UsageError
from avsync.core.files import protect
from avsync.core.report import Fault, Report, ScoreMap, Segment, TrackReport, Turn, Unjudged
from avsync.core.timecode import timebase
from avsync.media.probe import probe
from avsync.report import overlay
from avsync.report.overlay import (
    BAD,
    GOOD,
    LINE,
    OVERLAY,
    QUIET,
    STRIP,
    annotated_frames,
    face_at,
    moment_words,
    save_overlay,
    score_strip,
)

BOX = (0.25, 0.25, 0.75, 0.75)


def of(path: Path, **more: object) -> Report:
    """A report on a file of four seconds with one face in the middle."""
    outline = np.tile(np.array(BOX, np.float32), (100, 1))
    own = Segment(0.0, 4.0, 120.0, 9.0, 0.9, own_offset_ms=118.0)
    face = TrackReport(0, 0.0, 4.0, 96, None, True, 1.0, segments=(own,), outline=outline)
    report = replace(a_report(path=str(path)), tracks=(face,), segments=(own,), duration_s=4.0)
    return replace(report, turns=(Turn(1.0, 3.0, 0, 118.0, 0.9),), **more)  # type: ignore[arg-type]


# --- the file -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair",
    [
        "h264-aac.mp4",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("mpeg2-mp2.mpg", "h264-ac3.ts", "h264-opus.mkv")
        ),
    ],
)
def test_audio_and_video_stay_as_far_apart_as_they_were(pair: str, tmp_path: Path):
    source = clap(tmp_path / pair, *PAIRS[pair])
    made = save_overlay(of(source), tmp_path / "out.mp4")
    assert lag_ms(made) == pytest.approx(lag_ms(source), abs=1.0)


@pytest.mark.parametrize(("video_s", "audio_s"), [(0.0, 0.4), (0.4, 0.0), (0.2, 0.32)])
def test_streams_that_begin_at_other_times_stay_apart(video_s: float, audio_s: float, tmp_path: Path):
    source = bar_and_click(tmp_path / "a.mkv", video_delay_s=video_s, audio_delay_s=audio_s)
    made = probe(save_overlay(of(source), tmp_path / "out.mp4"))
    assert made.video is not None
    assert made.video.start_s == pytest.approx(0.0, abs=0.001)
    assert made.audio[0].start_s == pytest.approx(0.0, abs=0.001)
    click = lag_ms_of_click(tmp_path / "out.mp4")
    assert click == pytest.approx(1.5 + audio_s - video_s, abs=0.01)


def lag_ms_of_click(path: Path) -> float:
    """When the loudest sample of a file is heard, in seconds."""
    from avsync.audio.waveform import load_audio

    heard = load_audio(path)
    return heard.start_s + int(np.argmax(np.abs(heard.samples))) / 16_000


def test_its_audio_is_that_of_the_file_and_it_tells_how_far_it_is(tmp_path: Path):
    tones = "aevalsrc='0.3*sin(440*2*PI*t)|0.3*sin(7000*2*PI*t)':s=48000:d=4"
    clap(tmp_path / "clap.mp4", *PAIRS["h264-aac.mp4"])
    source = tmp_path / "a.mkv"
    ffmpeg("-i", tmp_path / "clap.mp4", "-f", "lavfi", "-i", tones, "-map", "0:v", "-map", "1:a", source)
    told: list[tuple[str, float, float | None]] = []
    made = probe(save_overlay(of(source), tmp_path / "out.mp4", lambda *step: told.append(step)))
    assert (made.audio[0].channels, made.audio[0].rate_hz) == (2, 48_000)
    with tempfile.TemporaryFile() as file:
        heard = full.decoded(made, made.audio[0], file)
        loudest = np.abs(np.fft.rfft(heard[:96_000], axis=0)).argmax(axis=0) / 2
    assert loudest.tolist() == pytest.approx([440, 7000], abs=1), "its channels are those of the file"
    assert {step[0] for step in told} == {"overlay"}
    assert [step[1] for step in told] == sorted(step[1] for step in told)
    assert told[-1][1] == told[-1][2] == 100


def test_only_an_overlay_of_avsyncs_is_replaced(tmp_path: Path):
    source = clap(tmp_path / "a.mp4", *PAIRS["h264-aac.mp4"])
    made = save_overlay(of(source), tmp_path / "out.mp4")
    protect(made, OVERLAY, "--overlay")
    with pytest.raises(UsageError, match="is not an overlay written by avsync"):
        protect(source, OVERLAY, "--overlay")


def test_what_cannot_be_read_any_more_leaves_nothing(tmp_path: Path):
    with pytest.raises(AvsyncError):
        save_overlay(of(tmp_path / "gone.mp4"), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_middle_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = clap(tmp_path / "a.mp4", *PAIRS["h264-aac.mp4"])
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")

    def broken(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(overlay, "_draw_playhead", broken)
    with pytest.raises(RuntimeError):
        save_overlay(of(source), target)
    assert target.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]


# --- what is drawn ------------------------------------------------------------------------


def test_the_face_is_in_its_box_which_is_thick_while_it_speaks(tmp_path: Path):
    source = clap(tmp_path / "a.mp4", *PAIRS["h264-aac.mp4"])
    drawn = list(annotated_frames(of(source), probe(source)))
    height, width = drawn[0].shape[0] - LINE - STRIP, drawn[0].shape[1]
    side = width // 4
    for number, thick in ((5, False), (40, True), (90, False)):
        column = drawn[number][height // 2, side - 3 : side + 4].astype(int)
        red = (column[:, 0] > 150) & (column[:, 1] < 150)
        assert bool(red.sum() >= 3) is thick, "118 ms early is out of tolerance, so the box is red"
        assert red.any()


def test_the_line_moves_along_the_scores(tmp_path: Path):
    source = clap(tmp_path / "a.mp4", *PAIRS["h264-aac.mp4"])
    drawn = list(annotated_frames(of(source), probe(source)))
    for number in (0, 50, 99):
        row = drawn[number][-10].astype(int).sum(axis=1)
        assert int(np.argmax(row)) == pytest.approx(number / 100 * drawn[number].shape[1], abs=2)


def test_faces_of_a_stored_report_move_evenly_between_their_boxes():
    track = TrackReport(0, 2.0, 4.0, 40, None, boxes=((2.0, 0.0, 0.0, 0.2, 0.2), (3.0, 0.4, 0.0, 0.6, 0.2)))
    half = face_at(track, 2.5)
    assert half is not None
    assert half.tolist() == pytest.approx([0.2, 0.0, 0.4, 0.2])
    assert face_at(track, 1.0) is None
    assert face_at(track, 4.1) is None


@pytest.mark.parametrize(
    ("time_s", "words", "colour"),
    [
        (1.0, "0:01.0  10:00:01:00  audio 5 ms early", GOOD),
        (25.0, "0:25.0  10:00:25:00  audio 200 ms late", BAD),
        (45.0, "0:45.0  10:00:45:00  the lips do not match the speech", BAD),
        (55.0, "0:55.0  10:00:55:00  not judged: no face is seen", QUIET),
        (70.0, "1:10.0  10:01:10:00", QUIET),
    ],
)
def test_the_words_of_a_moment(time_s: float, words: str, colour: tuple[int, int, int]):
    report = replace(
        a_report(offset_ms=5.0),
        segments=(Segment(0, 20, 5.0, 9.0, 0.9), Segment(20, 40, -200.0, 9.0, 0.9, fault=True)),
        faults=(FAULT, Fault(44, 50, None, None, 0.95, "severe", "mismatch")),
        unjudged=(Unjudged(50.0, 61.0, "no-face"),),
        timebase=timebase(Fraction(25), 0.0, "10:00:00:00"),
    )
    assert moment_words(report, time_s) == (words, colour)


def test_scores_lie_at_their_time_with_early_on_top():
    values = np.full((10, 31), -1.5, np.float32)
    values[:, 0] = 2.0
    strip = score_strip(ScoreMap(10.0, 1.0, np.arange(600.0, -601.0, -40.0), values), 40.0, 400)
    assert strip.shape == (STRIP, 400, 3)
    assert (strip[:, :95] == 60).all()
    assert (strip[:, 205:] == 60).all()
    assert strip[0, 150].astype(int).sum() > strip[-1, 150].astype(int).sum() + 200
    assert (score_strip(None, 40.0, 400) == 60).all()
