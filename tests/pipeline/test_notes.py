"""Notes that a report owes its reader about the file itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from avsync.core.records import Waveform
from avsync.core.streams import Media, Piece
from avsync.pipeline.notes import _broken_off, _jumps


def media(*pieces: Piece, seconds: float = 10.0, header_s: float | None = None) -> Media:
    return Media(Path("x.mkv"), "matroska,webm", seconds, None, (), (), pieces=pieces, header_s=header_s)


def test_joined_recordings_are_named_with_the_place_of_each_seam():
    (note,) = _jumps(media(Piece(100.0, 104.0, -100.0), Piece(2.0, 8.0, 2.0)))
    assert (note.kind, note.values) == ("clock-jumps", {"jumps": 1, "at_s": [4.0], "stray": 0})


def test_packets_with_wild_timestamps_are_named_too():
    (note,) = _jumps(replace(media(Piece(0.0, 10.0, 0.0)), wild=frozenset({(0, 60)})))
    assert note.values == {"jumps": 0, "at_s": [], "stray": 1}


def test_continuous_timestamps_are_not_mentioned():
    assert _jumps(media(Piece(5.0, 15.0, -5.0))) == ()


def test_a_header_that_claims_more_than_there_is_is_contradicted():
    silence = Waveform(np.zeros(16_000 * 3, np.float32), 0.0)
    claimed = media(seconds=3.0, header_s=91_019.0)
    (note,) = _broken_off(claimed, claimed, silence, None, 3.0)
    assert (note.kind, note.values) == ("breaks-off", {"end_s": 3.0, "stored_end_s": 91_019.0})
    nearly = media(seconds=3.0, header_s=3.6)
    assert _broken_off(nearly, nearly, silence, None, 3.0) == ()
