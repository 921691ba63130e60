"""Made media for tests: clips whose picture and sound tell, at every moment, what time it is."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "4", "-pix_fmt", "yuv420p")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "1", "-pix_fmt", "yuv420p")
BAR_WIDTH = 320
BAR_HEIGHT = 32
PIXELS_PER_S = 64
"""Speed of the bar's edge: it crosses the picture in 5 s."""


def ffmpeg(*args: object) -> None:
    """Run the ffmpeg program of imageio-ffmpeg, overwriting its output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *map(str, args)]
    subprocess.run(command, check=True, timeout=120)


def bar_source(rate: str = "25", seconds: float = 4.0, size: tuple[int, int] = (BAR_WIDTH, BAR_HEIGHT)) -> str:
    """A lavfi source: white grows from the left at PIXELS_PER_S (of 320), so its edge tells the time of the
    picture."""
    width, height = size
    edge = f"(T*{PIXELS_PER_S}+0.5)*{width / BAR_WIDTH}"
    return (
        f"color=c=black:s={width}x{height}:r={rate}:d={seconds},"
        f"geq=lum='16+clip({edge}-X,0,1)*219':cb=128:cr=128"
    )


def bar_time(image: npt.NDArray[np.uint8]) -> float:
    """Seconds that a picture of `bar_source` shows, to about 1 ms: where its brightness falls through one half."""
    row = image.mean(axis=(0, 2)) / 255
    dark = int(np.argmax(row < 0.5)) if (row < 0.5).any() else len(row)
    if dark in (0, len(row)):
        return 0.0 if dark == 0 else len(row) / PIXELS_PER_S
    before, after = row[dark - 1], row[dark]
    edge = dark - 1 + (before - 0.5) / (before - after)
    return float(edge * BAR_WIDTH / len(row) / PIXELS_PER_S)


def click_source(at_s: float = 1.5, seconds: float = 4.0, rate: int = 48000) -> str:
    """A lavfi source: silence but for 10 ms of 1 kHz that begin at `at_s`."""
    return f"aevalsrc='if(between(t,{at_s},{at_s + 0.01}),sin(2*PI*1000*t),0)':s={rate}:d={seconds}"


def bar_and_click(
    path: Path,
    *,
    rate: str = "25",
    seconds: float = 4.0,
    click_s: float = 1.5,
    video_delay_s: float = 0.0,
    audio_delay_s: float = 0.0,
    codecs: Sequence[str] = (*X264, "-bf", "2", "-c:a", "aac"),
) -> Path:
    """A clip with both; the delays are start times of the streams, so both move their contents."""
    ffmpeg(
        *("-itsoffset", video_delay_s, "-f", "lavfi", "-i", bar_source(rate, seconds)),
        *("-itsoffset", audio_delay_s, "-f", "lavfi", "-i", click_source(click_s, seconds)),
        *(*codecs, path),
    )
    return path


def bar_clip(path: Path, *args: object, rate: str = "25", seconds: float = 4.0, codec: Sequence[str] = X264) -> Path:
    """A clip with the bar alone; `args` go to the output."""
    ffmpeg("-f", "lavfi", "-i", bar_source(rate, seconds), *codec, *args, path)
    return path
