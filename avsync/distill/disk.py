"""A full or closed disk in one sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avsync.errors import MediaError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(folder: Path, then: str, draft: Path | None = None) -> Iterator[None]:
    """Turn a full or closed disk into one sentence that ends with what follows, and remove the
    half-written `draft`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch's zip writer reports a failed write as a RuntimeError without an errno.
        if isinstance(error, RuntimeError) and "writ" not in str(error):
            raise
        if draft is not None:
            draft.unlink(missing_ok=True)
        full = not isinstance(error, OSError) or error.errno in FULL
        why = f"The disk of {folder} is full" if full else f"{folder} cannot be written ({error})"
        raise MediaError(f"{why}, so {then}.") from error
