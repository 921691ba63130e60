"""One audio track as it is stored: all its channels at its own rate, for those who write it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import av
import numpy as np
import numpy.typing as npt

from avsync.audio.steady import steady
from avsync.core.errors import MediaError
from avsync.core.files import cannot_store
from avsync.core.streams import AudioStream, Media
from avsync.media import decode
from avsync.media.container import opened
from avsync.media.decode import Damage

Samples = npt.NDArray[np.float32]


def decoded(media: Media, stream: AudioStream, file: IO[bytes]) -> Samples:
    """A track with all its channels at its own rate, (n, channels), stored in `file`. Gaps are silence; of
    overlapping audio the first is kept.

    Raises MediaError when nothing of it can be decoded, OutputError when there is no room for it.
    """
    count, damage = 0, Damage(media.holes)
    try:
        file.seek(0)
        file.truncate()
        begins_s = [piece.start_s for piece in media.pieces]
        for time_s, samples in steady(_blocks(media, stream, damage), begins_s[1:]):
            place = round((time_s - stream.start_s) * stream.rate_hz)
            place = count if abs(place - count) <= 1 else place
            kept = samples[max(0, count - place) :]
            place = max(place, count)
            if len(kept):
                file.seek(4 * stream.channels * place)
                file.write(kept.tobytes())
                count = place + len(kept)
        file.flush()
    except OSError as error:
        raise cannot_store("the decoded audio", error) from error
    if not count:
        why = damage.errors[0] if damage.errors else "no audio was found in it"
        raise MediaError(f"Audio track {stream.track} of {media.path} cannot be decoded ({why}).")
    return np.memmap(file, np.float32, "r", shape=(count, stream.channels))


def _blocks(media: Media, stream: AudioStream, damage: Damage) -> Iterator[tuple[float, float, Samples]]:
    """(time_s, length_s, samples (n, channels)) of each frame, at the stream's rate and with its channels."""
    channels = layout(media, stream)
    converter, kind = None, None
    for time_s, _, frame in decode.decoded(media, stream.index, damage):
        if kind != (frame.format.name, frame.layout.name, frame.sample_rate):
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            converter = av.AudioResampler("flt", channels, stream.rate_hz)
        assert converter is not None  # noqa: S101 - made with the first frame
        frame.pts = None
        parts = [out.to_ndarray().reshape(-1, stream.channels) for out in converter.resample(frame)]
        if parts:
            samples = np.concatenate(parts).astype(np.float32, copy=False)
            yield time_s, len(samples) / stream.rate_hz, samples


def layout(media: Media, stream: AudioStream) -> str:
    """FFmpeg's name of the channels of a track, such as "5.1(side)"."""
    with opened(media.path) as container:
        found: Any = container.streams[stream.index]
        return found.codec_context.layout.name
