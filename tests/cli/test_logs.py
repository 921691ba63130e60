"""What avsync logs is seen by those who ask for it, on stderr alone."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys, logging
from avsync.cli import main
logging.getLogger("avsync.test").debug("small")
sys.argv = ["avsync", "models", "list", *sys.argv[1:]]
import avsync.networks.library as library
real = library.available
def available():
    logging.getLogger("avsync.test").info("looking")
    logging.getLogger("avsync.test").debug("closely")
    return real()
library.available = available
main()
"""


@pytest.mark.parametrize(
    ("flags", "level", "seen"),
    [
        ([], None, set()),
        (["-v"], None, {"looking"}),
        ([], "debug", {"looking", "closely"}),
        (["--verbose"], "debug", {"looking", "closely"}),
        ([], "nonsense", set()),
    ],
)
def test_the_log_goes_to_stderr_on_request(flags: list[str], level: str | None, seen: set[str]):
    env = {name: value for name, value in os.environ.items() if name != "AVSYNC_LOG"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *flags],
        env=env | ({"AVSYNC_LOG": level} if level else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert {word for word in ("looking", "closely") if word in done.stderr} == seen
    assert "looking" not in done.stdout
    assert seen or done.stderr == ""
