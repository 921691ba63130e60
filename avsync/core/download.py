"""Downloads: over HTTPS only, checked against their SHA-256, resumed after a break."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsync.core.errors import ModelError

if TYPE_CHECKING:
    import requests

Progress = Callable[[str, float, float | None], None]
CHUNK_BYTES = 1 << 18
TIMEOUT_S = 30


def download(url: str, target: Path, sha256: str | None, progress: Progress | None = None) -> Path:
    """Download `url` to `target`, unless it is there; it appears whole and checked, or not at all.

    A download that breaks off leaves TARGET.part, which the next one continues. `sha256` None: no checksum
    is published, so the caller must verify the content.

    Raises:
        ModelError: it cannot be downloaded, or is not the file that was expected.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _secure() as session:
            part = target.with_name(f"{target.name}.part")

            def fetch(url: str, output_file: Any, *_: Any) -> None:
                _resume(session, url, part, progress)
                part.replace(output_file)

            keep: Any = fetch
            pooch.retrieve(url, sha256, target.name, target.parent, downloader=keep)
    except requests.RequestException as error:
        raise ModelError(f"{url} could not be downloaded ({_line(error)}); try again.") from error
    except OSError as error:
        raise ModelError(
            f"{target} cannot be written ({error.strerror or _line(error)}); change the permissions of "
            f"{target.parent}, or free some space there."
        ) from error
    except ValueError as error:  # how pooch reports a wrong checksum
        raise ModelError(
            f"The file at {url} does not have the expected SHA-256, {sha256}; it was not kept."
        ) from error
    return target


@contextlib.contextmanager
def _secure() -> Iterator[requests.Session]:
    """A session that does not follow redirects away from HTTPS."""
    import requests

    with requests.Session() as session:
        session.adapters.pop("http://")
        yield session


def _resume(session: requests.Session, url: str, part: Path, progress: Progress | None) -> None:
    """Download what `part` still lacks of `url`."""
    done = part.stat().st_size if part.is_file() else 0
    ranges = {"Range": f"bytes={done}-"} if done else {}
    with session.get(url, stream=True, timeout=TIMEOUT_S, headers=ranges) as response:
        nothing_left = response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if done and nothing_left:
            return
        response.raise_for_status()
        done = done if response.status_code == HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if done else "wb") as stream:
            for block in response.iter_content(CHUNK_BYTES):
                stream.write(block)
                done += len(block)
                if progress:
                    progress("download", done, total)


def _line(error: BaseException) -> str:
    """The first line of an error's text: some libraries add pages of advice."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
