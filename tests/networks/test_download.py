"""A public model is downloaded once, and only what loads is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
from public_factory import public_file

from avsync.core.errors import ModelError, UsageError
from avsync.networks.download import fetch
from avsync.networks.zoo import PUBLIC

pytestmark = pytest.mark.usefixtures("user_cache")


def test_fetch_proves_the_download_and_leaves_nothing_of_a_bad_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_cache: Path
) -> None:
    served = tmp_path / "served.pth"
    public = PUBLIC["mtdvocalist"]
    monkeypatch.setitem(PUBLIC, "mtdvocalist", replace(public, url=served.as_uri()))
    with pytest.raises(ModelError, match="could not be downloaded"):
        fetch("mtdvocalist")
    served.write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="plain weights"):
        fetch("mtdvocalist")
    assert list(user_cache.iterdir()) == []
    public_file(served)
    seen: list[float] = []
    path = fetch("mtdvocalist", lambda _stage, done, _total: seen.append(done))
    assert path == user_cache / "pure_MTDVocaLiST.pth"
    assert seen[-1] == path.stat().st_size
    served.unlink()
    assert fetch("mtdvocalist") == path


def test_fetch_of_what_only_a_person_can_get_says_where() -> None:
    with pytest.raises(ModelError, match="vskadandale/vocalist"):
        fetch("vocalist")
    with pytest.raises(UsageError, match="mtdvocalist"):
        fetch("something-else")
