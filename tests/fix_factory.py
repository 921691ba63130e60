"""Videos to repair in every container, and how they are looked at afterwards: by a player's eyes, and by
ffmpeg's own hashes."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from avsync import fix
from avsync.errors import AvsyncError
from avsync.program import ffmpeg_path
from avsync.records import Report
from avsync.settings import FixOptions

# --- Made media: a white flash and a beep together, one second in --------------------------

PICTURE = "color=black:s=96x64:r=25:d=2,drawbox=c=white:t=fill:enable='between(t,1,1.19)'"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "20", "-pix_fmt", "yuv420p")
CHAPTERS = ";FFMETADATA1\ntitle=My film\nartist=Ann\n" + "".join(
    f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n"
    for start, end, title in ((0, 900, "One"), (900, 1500, "Two"), (1500, 2000, "Three"))
)
SUBTITLES = "1\n00:00:01,000 --> 00:00:01,200\nBeep\n\n2\n00:00:01,500 --> 00:00:01,700\nSilence\n"
KLV = bytes.fromhex("060e2b34020b01010e01030101000000") + b"\x10" + bytes(16)

RECIPES: dict[str, tuple[str, ...]] = {
    "plain.mp4": (*H264, "-c:a", "aac"),
    "fast.mp4": (*H264, "-c:a", "aac", "-movflags", "+faststart"),
    "hevc.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1", "-c:a", "aac"),
    "plain.mov": (*H264, "-c:a", "pcm_s16le", "-timecode", "01:02:03:04"),
    "plain.mkv": (*H264, "-c:a", "aac"),
    "plain.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "plain.ts": (
        *H264,
        "-c:a",
        "aac",
        "-streamid",
        "0:4113",
        "-streamid",
        "1:4352",
        "-output_ts_offset",
        "3600",
    ),
    "plain.m2ts": (*H264, "-c:a", "ac3"),
    "plain.mpg": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"),
    "plain.vob": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "ac3", "-f", "vob"),
    "plain.flv": (*H264, "-c:a", "aac"),
    "plain.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "pcm.avi": ("-c:v", "mpeg4", "-c:a", "pcm_s16le"),
    "h264.avi": (*H264, "-c:a", "libmp3lame"),
    "coarse.avi": ("-c:v", "mpeg4", "-bf", "2", "-c:a", "ac3"),
}


def run_ffmpeg(*arguments: str | Path) -> None:
    call = [ffmpeg_path(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(call, check=True, capture_output=True)


def beep(hz: int) -> str:
    return f"aevalsrc='if(between(t,1,1.2),0.8*sin(2*PI*{hz}*t),0)':s=48000:d=2"


def lavfi(*sources: str) -> list[str]:
    return [word for source in sources for word in ("-f", "lavfi", "-i", source)]


def maker(folder: Path) -> Callable[[str], Path]:
    """Files by name, each made once in `folder`."""

    @functools.cache
    def make(name: str) -> Path:
        path = folder / name
        special = {"rich.mkv": make_rich_mkv, "rich.mp4": make_rich_mp4, "phone.mov": make_phone_mov}
        if name in special:
            special[name](path)
        elif name == "trimmed.mp4":
            run_ffmpeg("-ss", "0.5", "-i", make("plain.mp4"), "-c", "copy", path)
        elif name == "klv.ts":
            (folder / "klv.bin").write_bytes(KLV)
            inputs = [*lavfi(PICTURE, beep(1000)), "-f", "data", "-i", folder / "klv.bin"]
            run_ffmpeg(
                *inputs, "-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg2video", "-c:a", "mp2", path
            )
        else:
            run_ffmpeg(*lavfi(PICTURE, beep(1000)), *RECIPES[name], path)
        return path

    return make


def text_inputs(folder: Path) -> list[str | Path]:
    """Two sounds, subtitles, chapters and a cover, as inputs 1 to 5."""
    (folder / "subtitles.srt").write_text(SUBTITLES)
    (folder / "chapters.txt").write_text(CHAPTERS)
    run_ffmpeg(*lavfi("testsrc=s=32x32:d=0.04"), "-frames:v", "1", "-update", "1", folder / "cover.png")
    others = [
        word for name in ("subtitles.srt", "chapters.txt", "cover.png") for word in ("-i", folder / name)
    ]
    return [*lavfi(PICTURE, beep(1000), beep(500)), *others]


TITLES = (
    *("-metadata:s:a:0", "language=eng", "-metadata:s:a:0", "title=Film", "-disposition:a:0", "0"),
    *(
        "-metadata:s:a:1",
        "language=fra",
        "-metadata:s:a:1",
        "title=Talk",
        "-disposition:a:1",
        "default+comment",
    ),
    *("-metadata:s:s:0", "language=deu", "-disposition:v:0", "0"),
)


def make_rich_mkv(path: Path) -> None:
    """Picture, sound, subtitles, a second sound (the only default stream), a font, a cover."""
    font = path.parent / "font.ttf"
    font.write_bytes(b"\0\1\0\0" + bytes(range(250)))
    run_ffmpeg(
        *text_inputs(path.parent),
        *("-map", "0", "-map", "1", "-map", "3", "-map", "2", "-map_metadata", "4", "-map_chapters", "4"),
        *(*H264, "-c:a:0", "aac", "-c:a:1", "ac3", "-c:s", "srt", *TITLES, "-metadata", "FOO=bar"),
        *("-attach", font, "-metadata:s:t:0", "mimetype=application/x-truetype-font"),
        *("-attach", path.parent / "cover.png", "-metadata:s:t:1", "mimetype=image/png"),
        *("-metadata:s:t:1", "filename=cover.png", "-default_mode", "passthrough", path),
    )


def make_rich_mp4(path: Path) -> None:
    """The same without the font, filmed upright, and with its index in front."""
    flat = path.with_name("flat.mp4")
    run_ffmpeg(*lavfi(PICTURE), *H264, flat)
    sideways = ["-display_rotation:v:0", "90", "-i", flat]
    run_ffmpeg(
        *sideways,
        *text_inputs(path.parent)[4:],
        *("-map", "0:v", "-map", "1", "-map", "3", "-map", "2", "-map", "5:v", "-map_metadata", "4"),
        *("-map_chapters", "4", "-c:v", "copy", "-c:a", "aac", "-c:s", "mov_text", *TITLES),
        *("-disposition:v:1", "attached_pic", "-movflags", "+faststart", path),
    )


def make_phone_mov(path: Path) -> None:
    """QuickTime keys as a telephone writes them."""
    run_ffmpeg(
        *lavfi(PICTURE, beep(1000)),
        *(
            *H264,
            "-c:a",
            "aac",
            "-movflags",
            "use_metadata_tags",
            "-metadata",
            "com.apple.quicktime.make=Apple",
        ),
        *("-metadata", "com.apple.quicktime.location.ISO6709=+48.1+002.3/", path),
    )


# --- Independent eyes: what a player shows, and what the packets hash to -------------------


def sync_ms(path: Path, track: int = 0) -> float:
    """Beep minus flash, as decoded on the presentation clock."""
    with av.open(f"file:{path}") as file:
        flash = next(
            f.time for f in file.decode(file.streams.video[0]) if f.to_ndarray(format="gray").mean() > 100
        )
    with av.open(f"file:{path}") as file:
        for frame in file.decode(file.streams.audio[track]):
            samples = frame.to_ndarray().astype(np.float64)
            samples = (
                samples[0] if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)[:, 0]
            )
            loud = np.flatnonzero(np.abs(samples) > (0.2 if "flt" in frame.format.name else 0.2 * 32768))
            if loud.size:
                return 1000 * (frame.time + loud[0] / frame.sample_rate - flash)
    raise AssertionError("no beep")


def hashes(path: Path, kinds: str = "vas") -> list[str]:
    """ffmpeg's own hash of every stream's packets, sorted, since some containers order streams by time."""
    maps = [word for kind in kinds for word in ("-map", f"0:{kind}?")]
    call = [ffmpeg_path(), "-v", "error", "-i", f"file:{path}", *maps, "-c", "copy", "-f", "streamhash", "-"]
    lines = subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    return sorted(re.sub(r"^\d+,", "", line) for line in lines)


def shift(src: Path, dst: Path, offset_ms: float, **options: Any) -> fix.FixResult:
    return fix.fix_offset(src, dst, FixOptions(offset_ms=offset_ms, **options), measure=never)


def never(path: Path) -> Report:
    raise AssertionError(f"{path} was measured")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_sentence(error: pytest.ExceptionInfo[AvsyncError]) -> str:
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and "Traceback" not in text, text
    return text
