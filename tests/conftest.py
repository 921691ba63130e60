import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fix_factory import maker
from hypothesis import settings
from talk_factory import EARLY_MS, Talk, talks_in

# Nothing here is about time, and a busy machine takes its own: no example has to be quick.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers of pytest-xdist share the cores


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and fixtures that lies beside the checkout; skips where it is absent."""
    folder = Path(os.environ.get("AVSYNC_SHARED", Path(__file__).parents[1].parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}")
    return folder


@pytest.fixture
def user_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's cache of checkpoints, empty, and no folder of the user's own beside it."""
    cache = tmp_path / "cache"
    monkeypatch.setattr("avsync.networks.library.cache_folder", lambda: cache)
    monkeypatch.delenv("AVSYNC_MODELS", raising=False)
    return cache


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Talk:
    """Makes talking faces: `talk(offset_ms)` is the path of a clip. All workers share them."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "talks"
    folder.mkdir(exist_ok=True)
    return talks_in(folder)


@pytest.fixture(scope="session")
def early(talk: Talk) -> Path:
    """Four seconds of a talking face whose audio is early by EARLY_MS."""
    return talk(EARLY_MS)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Videos to repair, by their name in fix_factory."""
    return maker(tmp_path_factory.mktemp("made"))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
