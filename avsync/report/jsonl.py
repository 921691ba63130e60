"""The JSONL file of a batch: a line for each file as soon as it is done; which files a later run may skip."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from avsync.core.errors import MediaError, UsageError
from avsync.core.files import protect, ready, write_whole
from avsync.core.options import CheckOptions, plain
from avsync.core.records import Report
from avsync.report.document import from_dict

Stamp = dict[str, Any]
"""What must be unchanged for a result to hold still; it stands in the line beside the result."""


def stamp(file: Path, options: CheckOptions) -> Stamp:
    """Size and time of a file (null where it cannot be looked at), and the options of the check."""
    try:
        status = file.stat()
        size, modified = status.st_size, round(status.st_mtime, 3)
    except OSError:
        size = modified = None
    return {"size_bytes": size, "modified_s": modified, "settings": plain(options)}


def resume(path: Path, stamps: Mapping[str, Stamp]) -> dict[str, Report]:
    """Reports that the file at `path` holds of the paths in `stamps` and that hold still, by path.

    What is out of date, and what ended in an error, is taken out of the file, to be done again; lines about
    other files stay. Raises UsageError when the file is no JSONL file of avsync's, MediaError when it cannot
    be read or written.
    """
    protect(path, b"{", "JSONL", "--jsonl")
    if not path.is_file():
        return {}
    documents = _documents(path)
    latest = {document["path"]: document for document in documents}
    held = {name: doc for name, doc in latest.items() if name in stamps and _holds(doc, stamps[name])}
    kept = [doc for name, doc in latest.items() if name in held or name not in stamps]
    write_whole(path, "".join(json.dumps(document) + "\n" for document in kept).encode())
    return {name: from_dict(document) for name, document in held.items()}


def _holds(document: Mapping[str, Any], now: Stamp) -> bool:
    whole = document["verdict"] != "error" and document.get("complete", True)
    return whole and all(document.get(key) == value for key, value in now.items())


def _documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a JSONL file; a last line that was cut off by a crash is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise MediaError(f"Cannot read {path}: {error.strerror}.") from error
    documents = []
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            _ = document["path"], document["verdict"]
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise UsageError(
                f"Line {number} of {path} is no result of avsync; take it out, or name another file."
            ) from error
        documents.append(document)
    return documents


@contextmanager
def jsonl_file(path: Path, *, resumed: bool = False) -> Iterator[IO[str]]:
    """`path` opened for lines of `report.to_line`, emptied first unless `resumed`; flush each, and what is
    there stays usable after Ctrl-C.

    Raises UsageError where another kind of file would be overwritten, MediaError where none can be
    written.
    """
    ready(path, b"{", "JSONL", "--jsonl")
    try:
        if path.is_file() and not resumed:
            os.truncate(path, 0)
        # Appending keeps lines whole even where a second command writes to the same file.
        stream = path.open("a", encoding="utf-8")
    except OSError as error:
        raise MediaError(f"Cannot write {path}: {error.strerror}.") from error
    try:
        yield stream
    finally:
        with suppress(OSError):  # every line was flushed; one that did not fit was told then
            stream.close()
