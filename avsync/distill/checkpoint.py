"""The checkpoint from which a run resumes exactly where it was, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, cast

import torch

from avsync.core.draft import draft
from avsync.core.errors import ModelError, UsageError
from avsync.core.files import disk_errors

FORMAT = 1
LAST = "last.pt"


class _Stream:
    """A file that remembers why it could not be written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.failed: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.failed = error
            raise

    def flush(self) -> None:
        self._file.flush()


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write `folder/last.pt`, replacing the old one atomically.

    Raises:
        OutputError: the disk is full or the folder cannot be written; the old checkpoint is untouched.
    """
    target = folder / LAST
    kept = f"the last good checkpoint is {target}" if target.exists() else "there is no checkpoint yet"
    then = f"training stopped; {kept}: free some space and resume with --resume {folder}"
    with disk_errors(folder, then), draft(target) as made:
        with open(made.handle, "wb", closefd=False) as file:
            stream = _Stream(file)
            try:
                torch.save({"format": FORMAT, **state}, cast("IO[bytes]", stream))
            except RuntimeError as error:  # torch's own error does not say that a write failed
                raise stream.failed or error from error
        made.publish(replace=True)


def load_state(folder: Path) -> dict[str, Any]:
    """The state of a run, on the CPU.

    Raises:
        UsageError: the folder holds no run.
        ModelError: its checkpoint is damaged or of another version.
    """
    path = folder / LAST
    if not path.is_file():
        raise UsageError(f"{folder} holds no run to resume: there is no {LAST} in it.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ModelError(
            f"The checkpoint {path} is damaged and cannot be resumed; start a new run."
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ModelError(f"The checkpoint {path} is of another version of avsync; start a new run.")
    return state
