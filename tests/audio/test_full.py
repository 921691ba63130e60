"""A track in full: its channels and its rate are those of the file."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from media_factory import ffmpeg

from avsync.audio import full
from avsync.core.errors import OutputError
from avsync.media.probe import probe

SECONDS = 2
TONES_HZ = (440, 880, 1320)


def tones(path: Path) -> Path:
    """A file whose three channels each hold a tone of their own, at 32 kHz."""
    expressions = "|".join(f"0.3*sin({hz}*2*PI*t)" for hz in TONES_HZ)
    ffmpeg("-f", "lavfi", "-i", f"aevalsrc='{expressions}':s=32000:d={SECONDS}:c=2.1", "-c:a", "flac", path)
    return path


def test_every_channel_is_read_at_the_rate_of_the_file(tmp_path: Path):
    media = probe(tones(tmp_path / "a.mkv"))
    with tempfile.TemporaryFile() as file:
        samples = full.decoded(media, media.audio[0], file)
        assert samples.shape == (32_000 * SECONDS, 3)
        for channel, hz in enumerate(TONES_HZ):
            spectrum = np.abs(np.fft.rfft(samples[:, channel]))
            assert spectrum.argmax() / SECONDS == pytest.approx(hz, abs=1)
    assert full.layout(media, media.audio[0]) == "2.1"


def test_a_track_that_cannot_be_kept_is_an_output_error(tmp_path: Path):
    media = probe(tones(tmp_path / "a.mkv"))
    with Path("/dev/full").open("r+b") as disk, pytest.raises(OutputError, match="Could not store"):
        full.decoded(media, media.audio[0], disk)
