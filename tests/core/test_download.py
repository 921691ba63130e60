"""Downloads: HTTPS alone, whole and checked or absent, gone on with after a break."""

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from https_server import Served, https_server

from avsync.core.download import download
from avsync.core.errors import ModelError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with https_server(tmp_path_factory.mktemp("server"), monkeypatch) as server:
        server.files["/model.pth"] = CONTENT
        yield server


def test_a_file_is_had_once(served: Served, tmp_path: Path):
    seen: list[tuple[float, float | None]] = []
    target = tmp_path / "cache" / "model.pth"
    for _ in range(2):
        download(f"{served.url}/model.pth", target, SHA256, lambda _, *done: seen.append(done))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert served.seen == [None]
    assert [path.name for path in target.parent.iterdir()] == ["model.pth"]


def test_a_break_costs_only_the_rest(served: Served, tmp_path: Path):
    target = tmp_path / "model.pth"
    served.breaks = 300_000
    with pytest.raises(ModelError, match="could not be downloaded"):
        download(f"{served.url}/model.pth", target, SHA256)
    assert not target.exists()
    served.breaks = None
    download(f"{served.url}/model.pth", target, SHA256)
    assert target.read_bytes() == CONTENT
    assert served.seen[-1] is not None
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


def test_a_folder_that_cannot_be_written_is_named(served: Served, tmp_path: Path):
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.raises(ModelError, match=r"cannot be written .*; change the permissions of .*cache"):
        download(f"{served.url}/model.pth", tmp_path / "cache" / "model.pth", SHA256)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_no_fault_of_the_network(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("avsync.core.download._resume", fails)
    with pytest.raises(ModelError, match=rf"model\.pth cannot be written \({os.strerror(number)}\)"):
        download(f"{served.url}/model.pth", tmp_path / "model.pth", SHA256)


def test_another_file_than_was_expected_is_not_kept(served: Served, tmp_path: Path):
    served.files["/model.pth"] = b"<html>not found</html>"
    with pytest.raises(ModelError, match="does not have the expected SHA-256"):
        download(f"{served.url}/model.pth", tmp_path / "model.pth", SHA256)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://localhost:9/x", "file:///etc/passwd", "ftp://localhost/x"])
def test_nothing_but_https_is_spoken(served: Served, tmp_path: Path, url: str):
    served.redirects["/x"] = url
    for asked in (url, f"{served.url}/x"):
        with pytest.raises(ModelError, match="could not be downloaded"):
            download(asked, tmp_path / "x", None)
    assert list(tmp_path.iterdir()) == []
