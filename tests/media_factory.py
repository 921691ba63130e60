"""Made media for tests: clips whose picture and sound tell, at every moment, what time it is."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "4", "-pix_fmt", "yuv420p")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "1", "-pix_fmt", "yuv420p")
BAR_S = 6.0
"""Seconds in which the bar's edge crosses the picture."""


def ffmpeg(*args: object, stdin: bytes = b"") -> None:
    """Run the ffmpeg program of imageio-ffmpeg, overwriting its output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, args)]
    subprocess.run(command, check=True, input=stdin, timeout=300)


def bar_pictures(times_s: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Grey (n, height, width): white grows from the left, so that its edge tells the time of the picture."""
    edges = times_s[:, None] * width / BAR_S + 0.5 - np.arange(width)
    rows = (np.clip(edges, 0, 1) * 255).round().astype(np.uint8)
    return np.repeat(rows[:, None], height, axis=1)


def bar_time(image: npt.NDArray[np.uint8]) -> float:
    """Seconds that a picture with the bar shows, to about 2 ms: where its brightness crosses one half."""
    row = image.mean(axis=(0, 2)) / 255
    dark = int(np.argmax(row < 0.5)) if (row < 0.5).any() else len(row)
    if dark in (0, len(row)):
        return BAR_S * dark / len(row)
    before, after = row[dark - 1], row[dark]
    return float(dark - 1 + (before - 0.5) / (before - after)) * BAR_S / len(row)


def bar_clip(
    path: Path,
    *args: object,
    rate: str = "25",
    seconds: float = 4.0,
    size: tuple[int, int] = (320, 16),
    inputs: Sequence[object] = (),
    filters: Sequence[str] = (),
    delay_s: float = 0.0,
    codec: Sequence[str] = X264,
) -> Path:
    """A clip with the bar. `inputs` are more inputs (numbered from 1), `args` go to the output, `filters` to
    the picture (after the delay)."""
    times = np.arange(round(seconds * Fraction(rate))) / float(Fraction(rate))
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{size[0]}x{size[1]}", "-r", rate)
    filters = ",".join(("format=yuv420p", f"setpts=PTS+{delay_s}/TB", *filters))
    command = (
        *raw,
        "-i",
        "pipe:",
        *inputs,
        "-vf",
        filters,
        "-fps_mode",
        "vfr",
        "-threads",
        1,
        *codec,
        *args,
        path,
    )
    ffmpeg(*command, stdin=bar_pictures(times, *size).tobytes())
    return path


def click(at_s: float = 1.5, seconds: float = 4.0, rate: int = 48000, layout: str = "mono") -> str:
    """A lavfi source: silence but for 10 ms of 1 kHz in every channel that begin at `at_s`."""
    tone = f"aevalsrc='if(between(t,{at_s},{at_s + 0.01}),0.5*sin(2*PI*1000*t),0)':s={rate}:d={seconds}"
    return f"{tone},aformat=channel_layouts={layout}"


def bar_and_click(
    path: Path,
    *args: object,
    rate: str = "25",
    click_s: float = 1.5,
    video_delay_s: float = 0.0,
    audio_delay_s: float = 0.0,
    codec: Sequence[str] = (*X264, "-bf", "2", "-c:a", "aac"),
) -> Path:
    """A clip with both; the delays are start times of the streams, so they move what is seen and heard."""
    sound = ("-itsoffset", audio_delay_s, "-f", "lavfi", "-i", click(click_s))
    return bar_clip(path, *args, rate=rate, inputs=sound, delay_s=video_delay_s, codec=codec)


def damaged(source: Path, target: Path, share: float = 0.5, part: float = 0.05) -> Path:
    """A copy of which `part` of the bytes, from `share` of them on, are noise."""
    data = bytearray(source.read_bytes())
    first, count = round(len(data) * share), round(len(data) * part)
    data[first : first + count] = np.random.default_rng(1).bytes(count)
    target.write_bytes(data)
    return target
