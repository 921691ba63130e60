"""Damaged files in many containers, with fixed seeds: read or refused, in bounded time, never a crash."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import av
import imageio_ffmpeg
import pytest
from mutations import mutated

from avsync.audio.waveform import waveform
from avsync.media.frames import frames
from avsync.media.probe import probe

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
CONTAINERS: dict[str, tuple[str, ...]] = {
    "mp4": (*H264, "-c:a", "aac"),
    "fragmented.mp4": (*H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    "mov": (*H264, "-c:a", "pcm_s16le"),
    "mkv": (*H264, "-c:a", "aac"),
    "webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "ts": (*H264, "-c:a", "aac"),
    "mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "flv": (*H264, "-c:a", "aac", "-ar", "44100"),
    "wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "ogv": ("-c:v", "libtheora", "-c:a", "libvorbis"),
    "mxf": ("-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-ar", "48000"),
    "nut": ("-c:v", "mpeg4", "-c:a", "mp2"),
}
SEEDS = int(os.environ.get("AVSYNC_FUZZ", "24"))
LIMIT_S = 20
MEMORY = 2_000_000_000

READER = """
import json, resource, sys, time
from pathlib import Path
from avsync.audio.waveform import waveform
from avsync.core.errors import AvsyncError
from avsync.media.frames import frames
from avsync.media.probe import probe

for line in sys.stdin:
    path, said, seconds = Path(line.strip()), "", time.process_time()
    try:
        media = probe(path)
        if media.video:
            for count, _ in enumerate(frames(media, long_side=64)):
                if count > 2000:
                    break
        if media.audio:
            waveform(media)
    except AvsyncError as error:
        said = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([said, time.process_time() - seconds, peak]), flush=True)
"""


@pytest.mark.fuzz
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, name: str):
    whole = tmp_path / f"whole.{name}"
    made = "testsrc=s=96x64:r=25:d=1.5", "sine=300:r=48000:d=1.5"
    inputs = [word for source in made for word in ("-f", "lavfi", "-i", source)]
    call = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *inputs, *CONTAINERS[name], str(whole)]
    subprocess.run(call, check=True)
    damaged = [tmp_path / f"{seed}.{name}" for seed in range(SEEDS)]
    for seed, path in enumerate(damaged):
        path.write_bytes(mutated(whole.read_bytes(), seed))
    done = subprocess.run(
        [sys.executable, "-c", READER],
        input="\n".join(map(str, [whole, *damaged])),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == SEEDS + 1
    assert answers[0][0] == ""
    for path, (said, seconds, peak) in zip(damaged, answers[1:], strict=True):
        assert "\n" not in said and "bug" not in said
        assert seconds < LIMIT_S and peak < MEMORY, path.name


def flv_tag(kind: int, body: bytes, time_ms: int) -> bytes:
    """A packet of an FLV file: 8 is audio, 9 video."""
    head = bytes([kind]) + len(body).to_bytes(3, "big") + time_ms.to_bytes(3, "big") + bytes(4)
    return head + body + struct.pack(">I", len(head) + len(body))


def test_streams_that_appear_late_are_passed_over(tmp_path: Path):
    """FLV has no list of its streams; damage can make more of them than there were when it was opened."""
    whole = tmp_path / "whole.flv"
    made = "testsrc=s=96x64:r=25:d=3", "sine=300:r=44100:d=3"
    inputs = [word for source in made for word in ("-f", "lavfi", "-i", source)]
    call = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *inputs, *CONTAINERS["flv"], str(whole)]
    subprocess.run(call, check=True)
    content = whole.read_bytes()
    cut = 13
    while cut < len(content) * 4 // 5:
        cut += int.from_bytes(content[cut + 1 : cut + 4], "big") + 15
    codecs = (0, 1, 2, 3, 5, 6, 7, 8, 11, 13, 14, 15)
    late = b"".join(flv_tag(8, bytes([codec << 4 | 15, *range(64)]), 2500) for codec in codecs)
    path = tmp_path / "late.flv"
    path.write_bytes(content[:cut] + late + content[cut:])
    with av.open(str(path)) as container:
        assert len(container.streams) == 2
    media = probe(path)
    assert sum(1 for _ in frames(media, long_side=64)) == pytest.approx(75, abs=3)
    assert len(waveform(media).samples) == pytest.approx(3 * 16_000, rel=0.05)
