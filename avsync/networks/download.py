"""Download a public model to the user's cache, once, and prove that it loads."""

from __future__ import annotations

import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from avsync.core.errors import ModelError, UsageError
from avsync.networks import checkpoint
from avsync.networks.zoo import PUBLIC, read_public

Progress = Callable[[str, float, float | None], None]


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Downloads a public checkpoint to the user's cache and proves that it loads. The network is not
    asked when the file is there. The authors publish no checksum, so what is verified is that it
    is a file of plain weights with exactly the expected keys and shapes."""
    public = PUBLIC.get(name)
    if public is None:
        raise UsageError(f'There is no public model called "{name}"; choose from: {", ".join(PUBLIC)}.')
    known = checkpoint.available()
    if name in known:
        return known[name]
    if public.url is None:
        raise ModelError(
            f'"{name}" cannot be downloaded by a program: take {public.file} from {public.where}.'
        )
    target = checkpoint.cache_folder() / public.file
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        partial = Path(folder) / public.file
        _download(public.url, partial, progress)
        checkpoint.build(public.dims, read_public(partial), partial)
        partial.replace(target)
    return target


def _download(url: str, target: Path, progress: Progress | None) -> None:
    try:
        # S310: the address is a constant that begins with https
        with urllib.request.urlopen(url, timeout=30) as response, target.open("wb") as out:  # noqa: S310
            total = int(response.headers.get("Content-Length") or 0) or None
            done = 0
            while block := response.read(1 << 18):
                out.write(block)
                done += len(block)
                if progress:
                    progress("download", done, total)
    except (urllib.error.URLError, OSError) as error:
        raise ModelError(
            f"{url} could not be downloaded ({error}); "
            "fetch it on another machine and give its path to --model."
        ) from error
    if total and done != total:
        raise ModelError(f"The download of {url} broke off after {done} of {total} bytes; try again.")
