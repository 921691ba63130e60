"""What must not get into training: damaged, cut and silent clips, and macOS's companions of files; and two
runs that fill one cache."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from distill_factory import wav2lip_clip, wav2lip_set
from media_factory import damaged
from talk_factory import Talk

from avsync.core.errors import MediaError
from avsync.data.cut import cut_prepared, cut_video
from avsync.data.prepare import BROKEN, prepare
from avsync.data.shards import Store, read_shards
from avsync.data.sources import find_sources


def test_a_video_whose_damage_decodes_to_something_is_listed(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    whole = Path(shutil.copy(talk(), tmp_path / "data" / "whole.mp4"))
    damaged(whole, tmp_path / "data" / "noise.mp4", share=0.5, part=0.1)
    assert len(cut_video(whole).frames) == 100
    broken = prepare(find_sources(tmp_path / "data"), tmp_path / "cache", workers=1)
    assert [(clip.id, "damaged" in clip.reason) for clip in broken] == [("noise", True)]
    assert "noise.mp4 is damaged" in (tmp_path / "cache" / BROKEN).read_text()


def test_damage_outside_of_what_is_used_does_no_harm(talk: Talk, tmp_path: Path) -> None:
    assert len(cut_video(damaged(talk(), tmp_path / "last.mp4", share=0.999, part=0.0005)).frames) > 50


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_an_image_that_is_cut_short_is_reported(tmp_path: Path, share: float) -> None:
    wav2lip_clip(tmp_path / "c", 1, frames=12)
    path = tmp_path / "c" / "5.jpg"
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    with pytest.raises(MediaError, match=r"5.jpg is (cut short|not a readable image)"):
        cut_prepared(tmp_path / "c")
    path.write_bytes(content + b"\0\0")
    assert len(cut_prepared(tmp_path / "c").frames) == 12


def test_a_silent_clip_is_left_out(tmp_path: Path) -> None:
    data = wav2lip_set(tmp_path / "data", train=2, val=1)
    soundfile.write(data / "t" / "1" / "audio.wav", np.zeros(16_000), 16_000)
    (clip,) = prepare(find_sources(data), tmp_path / "cache", workers=1)
    assert (clip.id, clip.reason) == ("t/1", "Its audio is silent.")


def test_macos_companion_files_are_not_clips(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "._a.mp4").write_bytes(b"\0\5\x16\7")
    wav2lip_clip(tmp_path / "b", 1, frames=12)
    (tmp_path / "b" / "._0.jpg").write_bytes(b"\0\5\x16\7")
    assert {source.id for source in find_sources(tmp_path)} == {"a", "b"}
    assert len(cut_prepared(tmp_path / "b").frames) == 12


FILL = """
import sys
from pathlib import Path
from avsync.data.prepare import prepare
from avsync.data.sources import find_sources

prepare(find_sources(Path(sys.argv[1])), Path(sys.argv[2]), workers=1)
"""


def test_two_processes_on_one_cache_prepare_every_clip_once(tmp_path: Path) -> None:
    data, cache = wav2lip_set(tmp_path / "data"), tmp_path / "cache"
    both = [subprocess.Popen([sys.executable, "-c", FILL, str(data), str(cache)]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    ids = [clip.id for _, clips, _ in read_shards(cache) for clip in clips]
    assert sorted(ids) == sorted(clip.id for clip in Store(cache).clips) and len(ids) == len(set(ids)) == 9
