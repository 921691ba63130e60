"""A live stream on the loopback interface: its offset is read again and again, and a break is mended."""

import functools
import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import run
from talk_factory import Talk

from avsync.core.options import check_options
from avsync.live.monitor import Reading, monitor
from avsync.media.ffmpeg import ffmpeg_path
from avsync.pipeline.run import prepared

pytestmark = pytest.mark.slow

OFFSET_MS = 160.0
OPTIONS = check_options(stride=2)
CODING = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac"]


@pytest.fixture(scope="module")
def video(talk: Talk) -> Path:
    return talk(OFFSET_MS, duration_s=24)


@contextmanager
def sent(video: Path, *target: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg sends the video in real time, over and over."""
    call = [ffmpeg_path(), "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", str(video)]
    process = subprocess.Popen([*call, *CODING, *target], cwd=cwd)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def readings(address: str, count: int) -> list[Reading]:
    """The first `count` readings with a report."""
    loaded = prepared(OPTIONS.model, OPTIONS)
    found: list[Reading] = []
    for reading in monitor(address, loaded, OPTIONS, every_s=4, window_s=16):
        if reading.report is not None:
            found.append(reading)
        if len(found) == count:
            return found
    raise AssertionError


def assert_right(found: list[Reading]) -> None:
    last = found[-1].report
    assert last is not None
    assert last.verdict == "out-of-sync"
    assert last.offset_ms == pytest.approx(OFFSET_MS, abs=30)
    assert last.uncertainty_ms is not None
    assert (last.duration_s or 0) >= 8


def test_mpeg_over_udp(video: Path):
    with sent(video, "-f", "mpegts", "udp://127.0.0.1:19473?pkt_size=1316"):
        assert_right(readings("udp://127.0.0.1:19473", 3))


def test_srt(video: Path):
    with sent(video, "-f", "mpegts", "srt://127.0.0.1:19474?mode=listener"):
        assert_right(readings("srt://127.0.0.1:19474?mode=caller", 3))


def test_rtmp(video: Path):
    """From a server that serves one player, so nothing may have connected to it before."""
    with sent(video, "-f", "flv", "-listen", "1", "rtmp://127.0.0.1:19477/live/key"):
        time.sleep(3)
        found = readings("rtmp://127.0.0.1:19477/live/key", 3)
    assert_right(found)


def test_hls(video: Path, tmp_path: Path):
    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Silent, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sent(video, "-f", "hls", "-hls_time", "2", "-hls_list_size", "6", "live.m3u8", cwd=tmp_path):
        while not (tmp_path / "live.m3u8").exists():
            time.sleep(0.2)
        assert_right(readings(f"http://127.0.0.1:{server.server_port}/live.m3u8", 3))
    server.shutdown()


def test_a_playlist_over_http_opens_no_file(video: Path, tmp_path: Path):
    (tmp_path / "evil.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{video}\n#EXT-X-ENDLIST\n"
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/evil.m3u8"
    loaded = prepared(OPTIONS.model, OPTIONS)
    (only,) = monitor(address, loaded, OPTIONS, every_s=4, give_up_after=1)
    assert only.report is None
    assert only.failed
    server.shutdown()


def test_a_break_is_reported_and_the_stream_reopened(video: Path):
    loaded = prepared(OPTIONS.model, OPTIONS)
    watched = monitor("tcp://127.0.0.1:19475?listen=1", loaded, OPTIONS, every_s=4, window_s=16)
    target = ("-f", "mpegts", "tcp://127.0.0.1:19475")

    def send() -> None:
        for _ in range(2):
            for _ in range(60):  # until somebody listens
                with sent(video, *target) as process:
                    try:
                        process.wait(16)
                    except subprocess.TimeoutExpired:
                        break
                time.sleep(0.5)

    threading.Thread(target=send, daemon=True).start()
    states = []
    for reading in watched:
        states.append(reading.report is not None)
        if states[-1] and False in states[states.index(True) :]:
            assert reading.reconnects >= 1
            break
    watched.close()


@pytest.mark.parametrize(
    ("address", "told"),
    [("udp://127.0.0.1:19477", "no reading could be made within 3 s"), ("tcp://127.0.0.1:9", "refused")],
    ids=["silent", "refused"],
)
def test_it_ends_in_time_though_nothing_comes(address: str, told: str):
    """Neither a silent stream nor the waits before new connections keep it."""
    loaded = prepared(OPTIONS.model, OPTIONS)
    began = time.monotonic()
    readings = list(monitor(address, loaded, OPTIONS, every_s=4, for_s=3))
    assert time.monotonic() - began < 10
    assert all(reading.report is None for reading in readings)
    assert told in readings[-1].failed


def test_the_command_writes_lines_and_ends_in_time(video: Path, tmp_path: Path):
    with sent(video, "-f", "mpegts", "udp://127.0.0.1:19476?pkt_size=1316"):
        done = run(
            *("monitor", "udp://127.0.0.1:19476", "--every", 4, "--window", 16, "--for", 25, "--stride", 2),
            *("--jsonl", tmp_path / "readings.jsonl"),
        )
    lines = [json.loads(line) for line in (tmp_path / "readings.jsonl").read_text().splitlines()]
    assert len(lines) >= 1
    assert done.exit_code in (1, 3)
    assert {line["address"] for line in lines} == {"udp://127.0.0.1:19476"}
    assert "ms early" in done.stdout or "cannot-tell" in done.stdout
