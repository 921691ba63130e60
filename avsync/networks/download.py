"""Download a public model to the user's cache, once, and prove that it loads."""

from __future__ import annotations

from pathlib import Path

from avsync.core.download import Progress, download
from avsync.core.errors import ModelError, UsageError
from avsync.networks import checkpoint, library
from avsync.networks.library import PUBLIC_FILES
from avsync.networks.zoo import PUBLIC, read_public


def fetch(name: str, progress: Progress | None = None, sha256: str | None = None) -> Path:
    """Downloads a public checkpoint to the user's cache and proves that it loads. The network is not
    asked when the file is there.

    The authors publish no checksum; a caller who has one gives it as `sha256`. In any case the file must be
    one of plain weights with exactly the keys and shapes of that network."""
    public = PUBLIC_FILES.get(name)
    if public is None:
        raise UsageError(f'There is no public model called "{name}"; choose from: {", ".join(PUBLIC_FILES)}.')
    known = library.available()
    if name in known:
        return known[name]
    if public.url is None:
        raise ModelError(
            f'"{name}" cannot be downloaded by a program: take {public.file} from {public.where}.'
        )
    target = library.cache_folder() / public.file
    unproven = target.with_name(f".{target.name}.unproven")
    try:
        download(public.url, unproven, sha256, progress)
        checkpoint.build(PUBLIC[name].dims, read_public(unproven), unproven)
        return unproven.replace(target)
    finally:
        unproven.unlink(missing_ok=True)
