"""The logger `avsync` on stderr, for those who ask for it."""

from __future__ import annotations

import logging
import os
import sys

VARIABLE = "AVSYNC_LOG"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def show_log(*, verbose: bool) -> None:
    """Write what avsync logs to stderr: from the level that AVSYNC_LOG names, else from "info" on where
    `verbose`, else nothing."""
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
