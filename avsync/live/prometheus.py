"""Serve the latest reading in Prometheus's text format."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_args

from avsync.core.errors import SetupError, UsageError
from avsync.core.report import Verdict
from avsync.live.monitor import Reading

TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(reading: Reading | None) -> str:
    """The metrics of a reading; before the first one, only that nothing is received."""
    if reading is None:
        return "# HELP avsync_up Whether the stream is received.\n# TYPE avsync_up gauge\n"
    report, stream = reading.report, _escaped(reading.address)
    lines: list[str] = []

    def add(name: str, kind: str, words: str, value: float | None, more: str = "") -> None:
        head = [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
        if head[0] not in lines:
            lines.extend(head)
        if value is not None:
            lines.append(f'{name}{{stream="{stream}"{more}}} {value:.10g}')

    add("avsync_up", "gauge", "Whether the stream is received.", float(report is not None))
    add("avsync_reading_timestamp_seconds", "gauge", "Time of the last reading.", reading.time.timestamp())
    add("avsync_reconnects_total", "counter", "Broken connections.", reading.reconnects)
    add("avsync_lost_pieces_total", "counter", "Pieces dropped for lack of time.", reading.lost)
    add("avsync_lag_seconds", "gauge", "Time from the newest frame to the reading.", reading.lag_s)
    if report is not None:
        words = "Synchrony error in seconds, positive: the audio is early."
        add("avsync_offset_seconds", "gauge", words, _seconds(report.offset_ms))
        words = "Half the 95 % interval of the offset."
        add("avsync_offset_uncertainty_seconds", "gauge", words, _seconds(report.uncertainty_ms))
        words = "Probability that the offset is right within 40 ms."
        add("avsync_offset_probability_ratio", "gauge", words, report.probability)
        for verdict in get_args(Verdict):
            here = float(report.verdict == verdict)
            add("avsync_verdict", "gauge", "1 for the current verdict.", here, f',verdict="{verdict}"')
    return "\n".join(lines) + "\n"


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms / 1000


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def place(text: str) -> tuple[str, int]:
    """Parse HOST:PORT, or a port, which is served on the loopback interface only. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--prometheus cannot be {text}; give a port, or HOST:PORT.")
    return host.strip("[]") or "127.0.0.1", int(port)


@contextmanager
def served(at: tuple[str, int]) -> Iterator[Callable[[Reading], None]]:
    """Serve /metrics while the block runs; yields a function that takes the newest reading.

    Raises:
        SetupError: the address cannot be served.
    """
    latest: list[Reading] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = metrics(latest[-1] if latest else None).encode()
            self.send_response(200)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Do not log requests to stderr."""

    try:
        server = ThreadingHTTPServer(at, Handler)
    except OSError as error:
        raise SetupError(f"Nothing can be served at {at[0]}:{at[1]}: {error.strerror or error}.") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def take(reading: Reading) -> None:
        latest[:] = [reading]

    try:
        yield take
    finally:
        server.shutdown()
        server.server_close()
