"""Notify other programs of a report: run a command, or post it to a web address."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from avsync.core.errors import OutputError, UsageError
from avsync.core.report import Report
from avsync.report.document import to_dict

COMMAND_SECONDS = 600
"""A command that takes longer is ended."""
POST_SECONDS = 15
TRIES = 3
"""Attempts at an address that does not answer or reports a server error."""
TOKEN = "AVSYNC_WEBHOOK_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable that holds a bearer token for the address."""

Tell = Callable[[Report], None]
"""tell(report). Raises OutputError if it could not be delivered."""


def command(text: str) -> Tell:
    """A function that runs a command with {path}, {verdict} and {offset_ms} filled in and the report's JSON
    on its stdin. There is no shell: a file name is one argument, whatever characters it has. What the command
    prints goes to stderr.

    Raises UsageError where it cannot be run.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--on-verdict {text!r} cannot be parsed ({error}); check its quotes.") from error
    if not words or shutil.which(words[0]) is None:
        raise UsageError(f"--on-verdict {text!r} names no program that can be run; give its path.")

    def tell(report: Report) -> None:
        offset = "" if report.offset_ms is None else f"{report.offset_ms:.0f}"
        known = {"{path}": os.path.abspath(report.path), "{verdict}": report.verdict, "{offset_ms}": offset}  # noqa: PTH100
        arguments = [_filled(word, known) for word in words]
        document = json.dumps(to_dict(report)).encode()
        try:
            done = subprocess.run(
                arguments, input=document, stdout=_stderr(), timeout=COMMAND_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OutputError(
                f"{words[0]} took longer than {COMMAND_SECONDS} s for {report.path}."
            ) from error
        except (OSError, ValueError) as error:
            raise OutputError(f"{words[0]} cannot be run for {report.path} ({error}).") from error
        if done.returncode:
            raise OutputError(f"{words[0]} ended with {done.returncode} for {report.path}.")

    return tell


def _stderr() -> int:
    """Where a command's output goes, since stdout carries results only."""
    try:
        return sys.stderr.fileno()
    except (OSError, AttributeError):  # closed, or not a file
        return subprocess.DEVNULL


def _filled(word: str, known: dict[str, str]) -> str:
    """The word with all placeholders filled in one pass, so that one in a file name stays as it is."""
    return re.sub("|".join(map(re.escape, known)), lambda found: known[found[0]], word)


def webhook(address: str) -> Tell:
    """A function that posts the report's JSON to an https address. Redirections are not followed.

    Raises UsageError where the address is another.
    """
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError(f"--webhook {address} is not an https address; give one, such as https://host/path.")

    def tell(report: Report) -> None:
        import requests

        headers = {"User-Agent": "avsync"}
        if token := os.environ.get(TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        document = to_dict(report)
        why = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(2**attempt)
            try:
                answer = requests.post(
                    address, json=document, headers=headers, timeout=POST_SECONDS, allow_redirects=False
                )
            except requests.RequestException as error:
                why = type(error).__name__
                continue
            if answer.ok and not answer.is_redirect:
                return
            why = f"status {answer.status_code}"
            if answer.status_code < 500:
                break
        raise OutputError(f"{parts.hostname} did not take the report on {report.path} ({why}).")

    return tell
