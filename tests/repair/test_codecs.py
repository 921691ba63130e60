"""A track that is encoded anew keeps its codec where that can be, and loses no rate."""

from pathlib import Path

import pytest
from media_factory import X264, bar_clip

from avsync.media.probe import probe
from avsync.repair.codecs import Encoding, encoding


@pytest.mark.parametrize(
    ("codec", "muxer", "expected"),
    [
        (("-c:a", "aac", "-b:a", "64k"), "mp4", Encoding("aac", "aac", 192)),
        (("-c:a", "libmp3lame", "-b:a", "320k"), "matroska", Encoding("mp3", "libmp3lame", 320)),
        (("-c:a", "mp2", "-b:a", "160k"), "mpegts", Encoding("mp2", "mp2", 192)),
        (("-c:a", "flac"), "matroska", Encoding("flac", "flac", None)),
        (("-c:a", "pcm_s24le"), "matroska", Encoding("pcm_s24le", "pcm_s24le", None)),
        (("-c:a", "wmav1"), "asf", Encoding("wmav2", "wmav2", 192)),
        (("-c:a", "wmav1"), "matroska", Encoding("aac", "aac", 192)),
    ],
)
def test_a_track_is_encoded_as_it_was_at_no_lower_rate(tmp_path: Path, codec, muxer: str, expected: Encoding):
    tone = ("-f", "lavfi", "-i", "sine=440:sample_rate=48000:duration=1,aformat=channel_layouts=stereo")
    media = probe(bar_clip(tmp_path / "in.mkv", seconds=1.0, inputs=tone, codec=(*X264, *codec)))
    assert encoding(media, media.audio[0], muxer) == expected
