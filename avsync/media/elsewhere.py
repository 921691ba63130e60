"""Media that are no file yet: a stream, or an address of the web. They become a nameless temporary file,
which can be read as often as a check needs and is gone with the process, however that ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import urlsplit, urlunsplit

from avsync.core.draft import FULL, scratch
from avsync.core.errors import AvsyncError, MediaError
from avsync.core.files import cannot_store

Progress = Callable[[str, float, float | None], None]
SCHEMES = ("http", "https")
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
"""Seconds without a byte after which a server is given up."""
MAX_REDIRECTS = 5


@contextmanager
def spooled(stream: IO[bytes] | BinaryIO, name: str) -> Iterator[Path]:
    """What `stream` gives from where it stands to its end, as a file while the block runs.

    Raises:
        MediaError: it cannot be read, or gives no bytes.
        OutputError: the disk is full.
    """
    with scratch() as (file, path):
        try:
            shutil.copyfileobj(stream, file, CHUNK_BYTES)
            file.flush()
        except TypeError as error:
            raise MediaError(f"{name} gives text, not bytes; open it in binary mode.") from error
        except (OSError, ValueError) as error:
            raise _broken(name, error) from error
        if not file.tell():
            raise MediaError(f"{name} gives no bytes; give a video, from its beginning.")
        yield path


@contextmanager
def downloaded(address: str, progress: Progress | None = None) -> Iterator[Path]:
    """What an http(s) address gives, as a file while the block runs.

    Redirections may lead to http and https only, and not from https back to http.

    Raises:
        MediaError: it cannot be downloaded, or breaks off.
        OutputError: the disk is full.
    """
    import requests

    name = shown(address)
    with scratch() as (file, path), requests.Session() as session:
        session.max_redirects = MAX_REDIRECTS
        if urlsplit(address).scheme.lower() == "https":
            session.adapters.pop("http://")
        try:
            with session.get(address, stream=True, timeout=TIMEOUT_S) as response:
                if not response.ok:
                    status = f"{response.status_code} {response.reason}"
                    raise MediaError(f"{name} cannot be downloaded ({status}); check the address.")
                length = response.headers.get("Content-Length", "")
                for block in response.iter_content(CHUNK_BYTES):
                    file.write(block)
                    if progress:
                        progress("download", file.tell(), int(length) if length.isdecimal() else None)
            file.flush()
        except requests.exceptions.InvalidSchema as error:
            raise MediaError(
                f"{name} leads to an address that is not {'/'.join(SCHEMES)}, or from https to http; "
                "give the address of the video itself."
            ) from error
        except (OSError, ValueError) as error:
            raise _broken(name, error) from error
        if not file.tell():
            raise MediaError(f"{name} is empty (0 bytes); give the address of a video.")
        yield path


def is_address(text: str) -> bool:
    """Whether a text is an address of the web rather than the name of a file."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


def shown(address: str) -> str:
    """The address as reports have it: without a user name and password."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _broken(name: str, error: Exception) -> AvsyncError:
    if isinstance(error, OSError) and error.errno in FULL:
        return cannot_store(name, error)
    why = (_reason(error) or type(error).__name__).splitlines()[0][:200]
    return MediaError(f"{name} cannot be read ({why}); try again, or save it as a file first.")


def _reason(error: Exception) -> str:
    """What an error says, or the one that it passes on; urllib3's have a sentence and then themselves, or
    begin with the connection."""
    first = error.args[0] if error.args else None
    cause = getattr(error, "reason", first)
    if isinstance(cause, Exception):
        return _reason(cause).rpartition("): ")[2]
    return str(first if isinstance(first, str) and len(error.args) > 1 else error).strip()
