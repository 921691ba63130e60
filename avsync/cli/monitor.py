"""`avsync monitor`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsync.cli.check_options import with_check_options
from avsync.cli.console import emit, guarded
from avsync.cli.options import Quiet
from avsync.core.errors import EXIT_ERROR, OutputError
from avsync.core.files import Kind, ready
from avsync.core.options import CheckKeywords, check_options

if TYPE_CHECKING:
    from avsync.live.monitor import Reading

READINGS = Kind("list of readings", lambda head: head.startswith(b'{"schema": 1, "address": '))

Address = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="An http(s) (HLS), srt, rtmp(s), udp or tcp address.")
]
Every = Annotated[
    float, typer.Option(min=1, max=60, metavar="SECONDS", help="Time from one reading to the next.")
]
Window = Annotated[
    float,
    typer.Option(min=5, max=600, metavar="SECONDS", help="How much of the stream each reading covers."),
]
For = Annotated[
    float | None,
    typer.Option("--for", min=0.1, metavar="SECONDS", help="End after this time. Default: never."),
]
GiveUp = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="End after this many failed connections in a row. Default: never."),
]
Lines = Annotated[
    Path | None,
    typer.Option("--jsonl", metavar="FILE", help="Append a line of JSON for each reading; - is stdout."),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--prometheus",
        metavar="[HOST:]PORT",
        help="Serve /metrics there; without a host, on this machine only.",
    ),
]


@guarded
@with_check_options(
    *("model", "standard", "max_offset_ms", "audio_track", "face_detector", "device", "stride", "precision")
)
def monitor(
    address: Address,
    *,
    check: CheckKeywords,
    every: Every = 5.0,
    window: Window = 30.0,
    end_after: For = None,
    give_up: GiveUp = None,
    jsonl: Lines = None,
    prometheus: Metrics = None,
    quiet: Quiet = False,
) -> int:
    """Watch a live stream and print every few seconds how early or late its audio is.

    [bold]Exit codes[/bold]
    As for `check`, by the last reading; 4 if the stream could not be received.

    [bold]Examples[/bold]
    avsync monitor https://example.org/live.m3u8
    avsync monitor 'srt://encoder:9000' --jsonl readings.jsonl --prometheus 9464
    avsync monitor udp://239.0.0.1:1234 --every 10 --window 60 --standard itu
    """
    from avsync.live import addresses
    from avsync.live.monitor import monitor as watched
    from avsync.live.prometheus import place, served
    from avsync.pipeline.run import prepared
    from avsync.report.document import EXIT_CODES

    options = check_options(**check)
    addresses.protocols(address)
    takers: list[Callable[[Reading], None]] = []
    last: Reading | None = None
    with ExitStack() as open_until_the_end:
        if jsonl is not None:
            takers.append(open_until_the_end.enter_context(_lines(jsonl)))
        if prometheus is not None:
            takers.append(open_until_the_end.enter_context(served(place(prometheus))))
        if not quiet and jsonl != Path("-"):
            takers.append(_say)
        loaded = prepared(options.model, options)
        readings = watched(
            *(address, loaded, options),
            every_s=every,
            window_s=window,
            give_up_after=give_up,
            for_s=math.inf if end_after is None else end_after,
        )
        for last in readings:
            for take in takers:
                take(last)
    return EXIT_ERROR if last is None or last.report is None else EXIT_CODES[last.report.verdict]


@contextmanager
def _lines(path: Path) -> Iterator[Callable[[Reading], None]]:
    """A function that writes a reading as a line of JSON, flushed at once."""
    if path == Path("-"):
        yield lambda reading: emit(json.dumps(reading.to_dict()) + "\n")
        return
    ready(path, READINGS, "--jsonl")
    try:
        stream = path.open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error

    def append(reading: Reading) -> None:
        try:
            stream.write(json.dumps(reading.to_dict()) + "\n")
            stream.flush()
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror}.") from error

    with stream:
        yield append


def _say(reading: Reading) -> None:
    """Print a reading as one line."""
    from avsync.report.live import reading_words

    emit(f"{reading.time.astimezone():%H:%M:%S}  {reading_words(reading.report, reading.failed)}\n")
