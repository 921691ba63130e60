"""Readings for Prometheus."""

import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest
from report_factory import a_report

from avsync.core.errors import SetupError, UsageError
from avsync.live.monitor import Reading
from avsync.live.prometheus import TYPE, metrics, place, served

NOW = datetime(2026, 11, 28, tzinfo=UTC)
READING = Reading('udp://h"x', NOW, a_report(), 0.5, 2, 1)


def test_a_reading_is_text_of_the_format():
    lines = metrics(READING).splitlines()
    assert r'avsync_offset_seconds{stream="udp://h\"x"} 0.12' in lines
    assert r'avsync_verdict{stream="udp://h\"x",verdict="out-of-sync"} 1' in lines
    assert r'avsync_verdict{stream="udp://h\"x",verdict="in-sync"} 0' in lines
    named = [line.split("{")[0] for line in lines if not line.startswith("#")]
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == set(named)


def test_without_a_connection_there_is_no_offset():
    text = metrics(Reading("udp://h", NOW, None, 0.0, 3, 0, "it ended"))
    assert 'avsync_up{stream="udp://h"} 0' in text
    assert "avsync_offset_seconds" not in text


def test_the_newest_reading_is_served():
    at = place("19471")
    assert at[0] == "127.0.0.1"
    with served(at) as take:
        take(READING)
        with urllib.request.urlopen("http://127.0.0.1:19471/metrics", timeout=5) as answer:
            assert answer.headers["Content-Type"] == TYPE
            assert b"avsync_offset_seconds" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen("http://127.0.0.1:19471/other", timeout=5)
        with pytest.raises(SetupError, match="19471"), served(at):
            pass


@pytest.mark.parametrize("text", ["", "host", "host:0", ":99999", "1:x"])
def test_what_is_not_an_address_to_listen_on_is_refused(text: str):
    with pytest.raises(UsageError):
        place(text)
