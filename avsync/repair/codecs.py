"""How to encode a re-timed audio track: with its old codec where possible, and at no lower bit rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avsync.core.streams import AudioStream, Media
from avsync.media.container import demux, opened

ENCODERS = {
    "aac": "aac",
    "ac3": "ac3",
    "alac": "alac",
    "eac3": "eac3",
    "flac": "flac",
    "mp2": "mp2",
    "mp3": "libmp3lame",
    "opus": "libopus",
    "vorbis": "libvorbis",
    "wmav2": "wmav2",
}
"""ffmpeg's encoder by codec; PCM codecs are their own encoders."""
FALLBACK = {"webm": "opus", "vob": "ac3", "mpeg": "mp2", "asf": "wmav2", "ogg": "vorbis", "mxf": "pcm_s16le"}
"""By container, the codec for tracks whose own codec has no encoder; AAC elsewhere."""
RATES_KBPS = {
    "ac3": (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
    "mp2": (64, 96, 128, 160, 192, 224, 256, 320, 384),
    "mp3": (64, 96, 128, 160, 192, 224, 256, 320),
}
"""The bit rates that these codecs allow; others take any."""
LOSSLESS = ("alac", "flac", "pcm")
KBPS_PER_CHANNEL = 96
"""Lowest rate for audio at 32 kHz or more, since encoding twice costs quality."""
MEASURED_PACKETS = 500


@dataclass(frozen=True)
class Encoding:
    """ffmpeg's encoder and the bit rate in kb/s (None: lossless); `words` describes both."""

    codec: str
    encoder: str
    kbps: int | None

    @property
    def words(self) -> str:
        """ "aac, 192 kb/s"."""
        return self.codec if self.kbps is None else f"{self.codec}, {self.kbps} kb/s"


def encoding(media: Media, stream: AudioStream, muxer: str) -> Encoding:
    """How to encode a re-timed track for a container."""
    with opened(media.path) as container:
        codec = container.streams[stream.index].codec_context.codec.canonical_name
    if codec not in ENCODERS and not codec.startswith("pcm_"):
        codec = FALLBACK.get(muxer, "aac")
    encoder = ENCODERS.get(codec, codec)
    if codec.startswith(LOSSLESS):
        return Encoding(codec, encoder, None)
    least = KBPS_PER_CHANNEL * stream.channels * min(1.0, stream.rate_hz / 32_000)
    wanted = max(_kbps(media.path, stream.index), least)
    allowed = RATES_KBPS.get(codec)
    if allowed is None:
        return Encoding(codec, encoder, round(min(wanted, 256 * stream.channels)))
    return Encoding(codec, encoder, next((rate for rate in allowed if rate >= wanted), allowed[-1]))


def _kbps(path: Path, index: int) -> float:
    """The bit rate of a stream as stored, measured on its first packets; 0 if unknown."""
    with opened(path) as container:
        stream = container.streams[index]
        packets = [p for _, p in zip(range(MEASURED_PACKETS), demux(container, stream), strict=False)]
    length = sum(float((p.duration or 0) * (p.time_base or 0)) for p in packets)
    return sum(p.size for p in packets) * 8 / 1000 / length if length else 0.0
