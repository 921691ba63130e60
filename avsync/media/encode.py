"""Write a video from frames and audio in memory."""

from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import ffmpeg
import numpy as np
import numpy.typing as npt
import soundfile

from avsync.core.draft import draft, scratch
from avsync.core.files import cannot_store
from avsync.media.container import source
from avsync.media.ffmpeg import run_ffmpeg
from avsync.media.images import Image


def write_video(
    target: Path,
    frames: Iterable[Image],
    size: tuple[int, int],
    fps: Fraction,
    samples: npt.NDArray[np.float32],
    rate_hz: int,
) -> Path:
    """Write an MP4 (H.264, AAC) of frames, uint8 RGB of `size` (width, height; even), and mono `samples`
    float32 (n,) that begin together. Replaces `target` only when all of it is written.

    Raises:
        OutputError: it cannot be written.
        SetupError: there is no ffmpeg.
    """
    wav = io.BytesIO()
    soundfile.write(wav, samples, rate_hz, format="WAV")
    try:
        with draft(target) as made, scratch() as (file, audio):
            file.write(wav.getvalue())
            file.flush()
            drawn = ffmpeg.input(
                "pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{size[0]}x{size[1]}", r=str(fps)
            )
            heard = ffmpeg.input(source(audio))
            coding = {"vcodec": "libx264", "preset": "veryfast", "crf": 18, "pix_fmt": "yuv420p"}
            coding |= {"acodec": "aac", "audio_bitrate": "96k", "movflags": "+faststart", "format": "mp4"}
            written = ffmpeg.output(drawn.video, heard.audio, source(made.path), **coding)
            arguments = written.overwrite_output().get_args()
            run_ffmpeg(arguments, f"write {made.target}", made, feed=(f.tobytes() for f in frames))
            made.publish(replace=True)
    except OSError as error:
        raise cannot_store(f"the audio of {target}", error) from error
    return target
