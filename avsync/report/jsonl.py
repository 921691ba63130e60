"""The ledger of a batch: a JSONL file that gets a line as soon as a file is done, tells a later run which
files it may skip, and is locked by one run at a time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from avsync.core import draft
from avsync.core.document import SCHEMA, from_dict
from avsync.core.errors import OutputError, UsageError
from avsync.core.files import Kind, ready, replacement, takes_bytes
from avsync.core.options import CheckOptions, plain
from avsync.core.report import Report
from avsync.report.document import to_dict

try:
    import fcntl
except ImportError:  # Windows, where two runs may still mix their lines
    fcntl = None

BEGINS = re.compile(rb'\s*\{\s*"schema"\s*:\s*\d+\s*,\s*"path"\s*:')
FIRST = b'{"schema": %d, "path": ' % SCHEMA
LEDGER = Kind("JSONL file", lambda head: bool(BEGINS.match(head)) or FIRST.startswith(head))
"""A file whose first line begins like those of `to_line`, or is one that a crash cut short."""

Stamp = dict[str, Any]
"""What must be unchanged for a result to be reused; stored beside the result."""


def stamp(file: Path, options: CheckOptions) -> Stamp:
    """Size and modification time of a file (null if they cannot be read), and the options of the check."""
    try:
        status = file.stat()
        size, modified = status.st_size, round(status.st_mtime, 3)
    except (OSError, ValueError):  # a line of a list may hold what no file name can
        size = modified = None
    return {"size_bytes": size, "modified_s": modified, "settings": plain(options)}


Add = Callable[[str, str], None]
"""add(path of the video, line): keep a line of `document.to_line`, on the disk before the call returns."""


@contextmanager
def opened_ledger(
    path: Path, stamps: Mapping[str, Stamp], *, resumed: bool = False
) -> Iterator[tuple[dict[str, Report], Add]]:
    """(reports that are still valid, by path; a function that adds a line). The file stays usable after any
    crash, with one line for each path.

    Without `resumed` the file begins anew. Otherwise results of the paths in `stamps` are held, unless they
    are out of date, which takes them out of the file, or ended in an error: such a line stays until a new one
    takes its place, so that a run that is stopped loses none. Lines about other files stay.

    Raises:
        UsageError: another run writes to the file, or it is not a ledger of avsync's.
        OutputError: it cannot be read or written.
    """
    ready(path, LEDGER, "--jsonl")
    with ExitStack() as until_the_end:
        try:
            held, add = until_the_end.enter_context(_begun(path, stamps, resumed))
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror}.") from error
        yield held, add


@contextmanager
def _begun(path: Path, stamps: Mapping[str, Stamp], resumed: bool) -> Iterator[tuple[dict[str, Report], Add]]:
    if takes_bytes(path):
        with _closing(path.open("a", encoding="utf-8")) as stream:
            yield {}, lambda _name, line: _append(stream, line)
        return
    with ExitStack() as first:
        old = first.enter_context(_locked(path))
        if not resumed:
            old.truncate(0)
            yield {}, lambda _name, line: _append(old, line)
            return
        kept, held = _sorted_out(path, stamps)
        opened = _rewritten(path, kept.values(), old)
    again = kept.keys() & stamps.keys() - held.keys()

    def add(name: str, line: str) -> None:
        nonlocal opened
        if name not in again:
            _append(opened[0], line)
            return
        again.discard(name)
        documents = {document["path"]: document for document in _documents(path)}
        before = opened
        opened = _rewritten(path, [*(documents | {name: json.loads(line)}).values()], before[0])
        before[1].close()

    try:
        yield held, add
    finally:
        opened[1].close()


def _append(stream: IO[str], line: str) -> None:
    stream.write(line)
    stream.flush()


def _rewritten(path: Path, documents: Iterable[Mapping[str, Any]], old: IO[str]) -> tuple[IO[str], ExitStack]:
    """A new file of these documents in the place of the old one, open for more; and what closes it. It is
    locked before it is renamed into place, so that no other run gets in between."""
    with ExitStack() as opening:
        made = opening.enter_context(replacement(path.resolve()))
        file = open(made.handle, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - closed below
        stream = opening.enter_context(_closing(file))
        stream.writelines(json.dumps(document) + "\n" for document in documents)
        stream.flush()
        if not draft.RENAMES_OPEN:
            old.close()
        made.publish(replace=True)
        return stream, opening.pop_all()


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """The file, open for appending and locked against other runs."""
    target = path.resolve()
    while True:
        stream = target.open("a", encoding="utf-8")
        try:
            if fcntl is not None:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.close()
            raise UsageError(
                f"Another run of avsync is writing to {path}; wait for it, or name another file for --jsonl."
            ) from error
        except OSError:  # a file system without locks
            pass
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), target.stat()):
                break
        stream.close()  # a run that has just ended replaced it
    with _closing(stream):
        yield stream


@contextmanager
def _closing(stream: IO[str]) -> Iterator[IO[str]]:
    try:
        yield stream
    finally:
        with suppress(OSError):  # every line was flushed, and a failure reported, when it was written
            stream.close()


def _sorted_out(
    path: Path, stamps: Mapping[str, Stamp]
) -> tuple[dict[str, dict[str, Any]], dict[str, Report]]:
    """The documents to keep, one per path, and those of them that are still valid as reports."""
    latest = {document["path"]: document for document in _documents(path)}
    held: dict[str, Report] = {}
    for name, document in latest.items():
        if name in stamps and _holds(document, stamps[name]) and (report := _report(document)):
            held[name] = report
    kept = {
        name: document
        for name, document in latest.items()
        if name not in stamps or _is_current(document, stamps[name])
    }
    return kept, held


def _holds(document: Mapping[str, Any], now: Stamp) -> bool:
    whole = document["verdict"] != "error" and document.get("complete", True)
    return whole and _is_current(document, now)


def _is_current(document: Mapping[str, Any], now: Stamp) -> bool:
    return all(document.get(key) == value for key, value in now.items())


def _report(document: Mapping[str, Any]) -> Report | None:
    """The report of a document; None if it has another version or was edited."""
    try:
        report = from_dict(document)
        again = to_dict(report)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    unchanged = all(document.get(key) == value for key, value in again.items() if key != "summary")
    return report if unchanged else None


def _documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a JSONL file, without a last line that a crash cut off."""
    lines = path.read_bytes().splitlines()
    documents = []
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            if not isinstance(document["path"], str) or not isinstance(document["verdict"], str):
                raise TypeError
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if number == len(lines):
                break
            raise UsageError(
                f"Line {number} of {path} is not a result of avsync; take it out, or name another file."
            ) from error
        documents.append(document)
    return documents
