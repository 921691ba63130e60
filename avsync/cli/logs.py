"""Write the logger `avsync` to stderr on request."""

from __future__ import annotations

import logging
import os
import sys

VARIABLE = "AVSYNC_LOG"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def show_log(*, verbose: bool) -> None:
    """Write the log to stderr: from the level in AVSYNC_LOG, else from "info" if `verbose`, else nothing."""
    level = logging.getLevelName(os.environ.get(VARIABLE, "").upper())
    if not isinstance(level, int):
        if not verbose:
            return
        level = logging.INFO
    logger = logging.getLogger("avsync")
    logger.setLevel(level)
    if not any(type(handler) is logging.StreamHandler for handler in logger.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(FORMAT))
        logger.addHandler(handler)
