"""A trimmed MP4 or MOV: its edit list hides the beginning, and audio can be advanced into what it hides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_factory import X264, bar_and_click, bar_time, ffmpeg

from avsync import fix_offset
from avsync.audio.waveform import waveform
from avsync.core.errors import UsageError
from avsync.media.decode import Damage, decoded
from avsync.media.editlist import Row, rows_of
from avsync.media.probe import probe
from avsync.repair.editlists import ONCE, shifted, table_of

CLICK_S = 2.5
TOLERANCE_MS = 1.5
ONE_GROUP = (*X264, "-bf", "0", "-g", "300")
NOTHING = -1


def lag_ms(path: Path, track: int = 0) -> float:
    """By how much the click sounds late against the frames that are shown with it."""
    media, damage = probe(path), Damage()
    assert media.video is not None
    bars = [
        (time_s, bar_time(frame.to_ndarray(format="rgb24")))
        for time_s, _, frame in decoded(media, media.video.index, damage)
    ]
    assert damage.errors == []
    audio = waveform(media, track)
    loud = np.abs(np.asarray(audio.samples)) > 0.2
    click_s = audio.start_s + int(np.argmax(loud)) / 16_000
    return 1000 * (click_s - CLICK_S - float(np.median([time_s - bar_s for time_s, bar_s in bars])))


def trimmed(folder: Path, suffix: str, audio: str, *args: str, rate: str = "25", tracks: int = 1) -> Path:
    maps = ("-map", "0:v", *("-map", "1:a") * tracks)
    whole = bar_and_click(
        folder / "whole.mov", *maps, rate=rate, click_s=CLICK_S, codec=(*ONE_GROUP, "-c:a", audio)
    )
    path = folder / f"trimmed{suffix}"
    ffmpeg("-ss", "1.27", "-i", whole, "-map", "0", "-c", "copy", *args, path)
    return path


@pytest.mark.parametrize(
    ("suffix", "audio", "args"),
    [
        (".mp4", "aac", ()),
        (".mp4", "aac", ("-movflags", "faststart")),
        (".mov", "pcm_s16le", ("-movflags", "faststart")),
        (".mov", "alac", ()),
        (".m4v", "aac", ("-movie_timescale", "90000")),
    ],
)
@pytest.mark.parametrize("offset_ms", [-87.0, -300.0])
def test_its_audio_is_advanced_by_the_edit_list_alone(
    tmp_path: Path, suffix: str, audio: str, args: tuple[str, ...], offset_ms: float
) -> None:
    source, out = trimmed(tmp_path, suffix, audio, *args), tmp_path / f"out{suffix}"
    before_ms = lag_ms(source)
    result = fix_offset(source, out, offset_ms=offset_ms)
    assert lag_ms(out) - before_ms == pytest.approx(offset_ms, abs=TOLERANCE_MS)
    assert "ffmpeg" not in result.settings and result.command.startswith("avsync fix-offset ")
    assert abs(out.stat().st_size - source.stat().st_size) < 200
    # Once more, and back: what was hidden is still there.
    again, back = tmp_path / f"again{suffix}", tmp_path / f"back{suffix}"
    fix_offset(out, again, offset_ms=-50)
    fix_offset(again, back, offset_ms=50 - offset_ms)
    assert lag_ms(again) - before_ms == pytest.approx(offset_ms - 50, abs=TOLERANCE_MS)
    assert lag_ms(back) - before_ms == pytest.approx(0, abs=TOLERANCE_MS)


def test_one_track_of_two_is_advanced(tmp_path: Path) -> None:
    source, out = trimmed(tmp_path, ".mov", "pcm_s16le", tracks=2), tmp_path / "out.mov"
    fix_offset(source, out, offset_ms=-87, audio_track=1)
    assert [lag_ms(out, track) for track in (0, 1)] == pytest.approx([0, -87], abs=TOLERANCE_MS)


ROWS = st.lists(
    st.tuples(st.integers(1, 5000), st.one_of(st.just(NOTHING), st.integers(0, 10**6)), st.just(ONCE)),
    min_size=1,
    max_size=4,
)
MOVIE, TRACK = 1000, 48_000


def shown_at(rows: list[Row], time: int) -> float | None:
    """What of its media, in seconds, a track presents at a time in units of the movie."""
    for length, begin, _ in rows:
        if time < length:
            return None if begin == NOTHING else begin / TRACK + time / MOVIE
        time -= length
    return None


@given(rows=ROWS, by=st.integers(-4000, 4000))
def test_a_track_presents_the_same_earlier_or_later(rows: list[Row], by: int) -> None:
    total = sum(length for length, _, _ in rows)
    if -by >= total:
        with pytest.raises(UsageError):
            shifted(rows, by / MOVIE, MOVIE, TRACK)
        return
    found = shifted(rows, by / MOVIE, MOVIE, TRACK)
    for time in range(0, total + max(0, by), 97):
        assert shown_at(found, time) == pytest.approx(shown_at(rows, time - by) if time >= by else None)
    assert rows_of(table_of(found)) == found
