"""One question about a file, answered in a separate process: a hostile file may crash or stall what reads
it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from avsync.batch.worker import die_with_parent, limited_memory, signals_held
from avsync.core.options import Limits


def apart(question: Callable[[Path], bool], path: Path, seconds: float) -> bool | None:
    """What `question`, a function of a module, answers for `path`; None where it ends in an error, or its
    process dies, or takes more than `seconds`."""
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, question, path), daemon=True)
    with signals_held():
        process.start()
    there.close()
    try:
        with here, suppress(EOFError, OSError):
            return here.recv() if here.poll(seconds) else None
        return None
    finally:
        process.kill()
        process.join()


def _answer(connection: Connection, question: Callable[[Path], bool], path: Path) -> None:
    die_with_parent()
    with connection, suppress(Exception), limited_memory(Limits.memory_bytes, "cpu"):
        connection.send(question(path))
