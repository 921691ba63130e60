"""A public model is downloaded once, and only what loads is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
from https_server import https_server
from public_factory import public_file

from avsync.core.errors import ModelError, UsageError
from avsync.core.files import file_sha256
from avsync.networks.download import fetch
from avsync.networks.library import PUBLIC_FILES

pytestmark = pytest.mark.usefixtures("user_cache")


def test_fetch_proves_the_download_and_leaves_nothing_of_a_bad_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_cache: Path
) -> None:
    with https_server(tmp_path, monkeypatch) as served:
        url = f"{served.url}/x.pth"
        changed = replace(PUBLIC_FILES["mtdvocalist"], url=url)
        monkeypatch.setitem(PUBLIC_FILES, "mtdvocalist", changed)
        with pytest.raises(ModelError, match="could not be downloaded"):
            fetch("mtdvocalist")
        served.files["/x.pth"] = b"<html>not found</html>"
        with pytest.raises(ModelError, match="plain weights"):
            fetch("mtdvocalist")
        public_file(tmp_path / "x.pth")
        served.files["/x.pth"] = (tmp_path / "x.pth").read_bytes()
        with pytest.raises(ModelError, match="does not have the expected SHA-256"):
            fetch("mtdvocalist", sha256="0" * 64)
        assert list(user_cache.iterdir()) == []
        path = fetch("mtdvocalist", sha256=file_sha256(tmp_path / "x.pth"))
        assert path == user_cache / "pure_MTDVocaLiST.pth"
        assert [file.name for file in user_cache.iterdir()] == [path.name]
    assert fetch("mtdvocalist") == path


def test_fetch_of_what_only_a_person_can_get_says_where() -> None:
    with pytest.raises(ModelError, match="vskadandale/vocalist"):
        fetch("vocalist")
    with pytest.raises(UsageError, match="mtdvocalist"):
        fetch("something-else")
