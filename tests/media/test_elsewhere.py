"""Media that are not files: streams and addresses become a temporary file that leaves nothing behind."""

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from https_server import https_server

from avsync.core.errors import MediaError
from avsync.media.elsewhere import downloaded, is_address, shown, spooled

CONTENT = bytes(range(256)) * 9000


@dataclass
class Site:
    """What a plain HTTP server of this machine gives by path; of each file `sends` bytes at most."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    sends: int | None = None


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site("", {"/talk.mp4": CONTENT, "/empty.mp4": b""})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in site.redirects:
                self.send_response(302)
                self.send_header("Location", site.redirects[self.path])
                self.end_headers()
            elif self.path in site.files:
                self.send_response(200)
                self.send_header("Content-Length", str(len(site.files[self.path])))
                self.end_headers()
                self.wfile.write(site.files[self.path][: site.sends])
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


class TestAddresses:
    @pytest.mark.parametrize(
        ("address", "why"),
        [
            ("http://127.0.0.1:1/a.mp4", "Failed to establish a new connection: .*refused"),
            ("http://nowhere.invalid/a.mp4", "Failed to resolve 'nowhere.invalid' .*"),
        ],
    )
    def test_where_nobody_answers_one_short_sentence_says_so(self, address: str, why: str):
        with pytest.raises(MediaError, match=rf"^{address} cannot be read \({why}\); try again"):
            downloaded(address).__enter__()

    def test_a_file_comes_whole_and_leaves_nothing(self, site: Site, room: Path):
        told: list[tuple[float, float | None]] = []
        with downloaded(f"{site.url}/talk.mp4", lambda _, done, total: told.append((done, total))) as path:
            assert path.read_bytes() == CONTENT
            assert list(room.iterdir()) == []
        assert not path.exists()
        assert told[-1] == (len(CONTENT), len(CONTENT))

    def test_redirections_within_http_are_followed(self, site: Site):
        site.redirects["/old"] = "/talk.mp4"
        with downloaded(f"{site.url}/old") as path:
            assert path.read_bytes() == CONTENT

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:video/mp4,x"])
    def test_redirections_to_anything_else_are_refused(self, site: Site, target: str):
        site.redirects["/old"] = target
        with pytest.raises(MediaError, match="not http/https"), downloaded(f"{site.url}/old"):
            pass

    def test_https_does_not_lead_back_to_http(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        with https_server(tmp_path, monkeypatch) as secure:
            secure.files["/talk.mp4"] = CONTENT
            secure.redirects["/old"] = f"{site.url}/talk.mp4"
            with downloaded(f"{secure.url}/talk.mp4") as path:
                assert path.read_bytes() == CONTENT
            with pytest.raises(MediaError, match="from https to http"), downloaded(f"{secure.url}/old"):
                pass

    def test_a_circle_of_redirections_ends(self, site: Site):
        site.redirects["/old"] = "/old"
        with pytest.raises(MediaError, match="redirects"), downloaded(f"{site.url}/old"):
            pass

    @pytest.mark.parametrize(("path", "said"), [("/none.mp4", "404 Not Found"), ("/empty.mp4", "is empty")])
    def test_what_is_not_there_is_one_sentence(self, site: Site, path: str, said: str):
        with pytest.raises(MediaError, match=said), downloaded(site.url + path):
            pass

    def test_a_download_that_breaks_off_is_refused(self, site: Site):
        """As of a server that claims more than it has; this one gives no ranges either."""
        site.sends = 100_000
        said = (
            r"cannot be read \(Connection broken: IncompleteRead\(100000 bytes read, \d+ more expected\)\);"
        )
        with pytest.raises(MediaError, match=said), downloaded(f"{site.url}/talk.mp4"):
            pass

    def test_a_refused_connection_is_one_sentence(self):
        with pytest.raises(MediaError, match="cannot be read"), downloaded("http://127.0.0.1:1/a.mp4"):
            pass

    def test_a_password_is_not_shown(self):
        assert shown("https://me:secret@example.org:80/a.mp4?b=1") == "https://example.org:80/a.mp4?b=1"

    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("http://a/b", True),
            ("HTTPS://a/b", True),
            ("file:///a", False),
            ("http:/a", False),
            ("a.mp4", False),
        ],
    )
    def test_what_an_address_is(self, text: str, address: bool):
        assert is_address(text) is address


class TestStreams:
    def test_a_stream_is_read_from_where_it_stands(self, room: Path):
        stream = io.BytesIO(b"head" + CONTENT)
        stream.seek(4)
        with spooled(stream, "upload") as path:
            assert path.read_bytes() == CONTENT
            assert list(room.iterdir()) == []
        assert not path.exists()

    @pytest.mark.parametrize(
        ("stream", "said"),
        [(io.BytesIO(), "gives no bytes"), (io.StringIO("text"), "open it in binary mode")],
    )
    def test_what_holds_no_video_is_one_sentence(self, stream, said: str):
        with pytest.raises(MediaError, match=f"upload.*{said}"), spooled(stream, "upload"):
            pass

    def test_a_closed_file_is_one_sentence(self, tmp_path: Path):
        (tmp_path / "a").write_bytes(b"a")
        with (tmp_path / "a").open("rb") as stream:
            pass
        with pytest.raises(MediaError, match="cannot be read"), spooled(stream, "upload"):
            pass
