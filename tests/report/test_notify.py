"""Commands and addresses that are notified of a report."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from https_server import Served, https_server
from report_factory import a_report

from avsync.core.errors import OutputError, UsageError
from avsync.report import notify
from avsync.report.notify import command, webhook

KEEPS = """
import json, pathlib, sys
verdict = json.load(sys.stdin)["verdict"]
pathlib.Path(sys.argv[1]).write_text(json.dumps({"said": sys.argv[2:], "verdict": verdict}))
print("heard")
"""


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    (tmp_path / "keeps.py").write_text(KEEPS)
    return tmp_path / "heard.json"


def test_a_command_gets_path_verdict_offset_and_the_document(heard: Path, capfd: pytest.CaptureFixture[str]):
    words = f"{sys.executable} {heard.parent}/keeps.py {heard} {{path}} now-{{verdict}}-{{offset_ms}} 'a b'"
    command(words)(a_report(path="/films/late.mp4"))
    assert json.loads(heard.read_text()) == {
        "said": ["/films/late.mp4", "now-out-of-sync-120", "a b"],
        "verdict": "out-of-sync",
    }
    out, err = capfd.readouterr()
    assert out == ""
    assert "heard" in err


@pytest.mark.parametrize("name", ["$(touch x); `id` | cat", "{verdict} \"'", "-rf", "new\nline", "*"])
def test_whatever_a_name_holds_is_one_argument(heard: Path, name: str):
    command(f"{sys.executable} {heard.parent}/keeps.py {heard} {{path}} {{verdict}}")(
        a_report(path=f"/films/{name}")
    )
    assert json.loads(heard.read_text())["said"] == [f"/films/{name}", "out-of-sync"]


def test_a_relative_name_is_not_taken_for_an_option():
    """A file called -rf must not become an option of the command."""
    code = 'import sys; sys.exit(3 if sys.argv[1][0] == "/" else 4)'
    with pytest.raises(OutputError, match="ended with 3"):
        command(f"{sys.executable} -c '{code}' {{path}}")(a_report(path="-rf"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "names no program"), ("no-such-program x", "names no program"), ("a 'b", "quotes")],
)
def test_a_command_that_cannot_be_run_is_refused_at_once(text: str, said: str):
    with pytest.raises(UsageError, match=said):
        command(text)


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notify, "COMMAND_SECONDS", 0.5)
    with pytest.raises(OutputError, match="took longer"):
        command(f"{sys.executable} -c 'import time; time.sleep(60)'")(a_report())


# --- addresses ----------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with https_server(tmp_path, monkeypatch) as served:
        yield served


def test_an_address_gets_the_document(server: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AVSYNC_WEBHOOK_TOKEN", "secret")
    webhook(f"{server.url}/hook")(a_report())
    ((path, headers, body),) = server.posted
    assert path == "/hook"
    assert headers["Authorization"] == "Bearer secret"
    assert json.loads(body)["verdict"] == "out-of-sync"


def test_a_redirection_is_not_followed_and_an_error_is_reported(
    server: Served, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(notify.time, "sleep", lambda _: None)
    server.answers = [307]
    with pytest.raises(OutputError, match=r"did not take the report on clip\.mp4 .status 307"):
        webhook(f"{server.url}/hook")(a_report())
    assert len(server.posted) == 1
    server.answers = [503, 503, 200]
    webhook(f"{server.url}/hook")(a_report())
    assert len(server.posted) == 4
    server.answers = [404]
    with pytest.raises(OutputError, match="status 404"):
        webhook(f"{server.url}/hook")(a_report())
    assert len(server.posted) == 5


def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    server: Served, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(notify.time, "sleep", lambda _: None)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(OutputError, match="SSLError"):
        webhook(f"{server.url}/hook")(a_report())
    assert server.posted == []


@pytest.mark.parametrize("address", ["http://host/x", "file:///etc/passwd", "https://", "host", "ftp://host"])
def test_only_https_addresses_are_taken(address: str):
    with pytest.raises(UsageError, match="not an https address"):
        webhook(address)
