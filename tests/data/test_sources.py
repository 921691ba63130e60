"""Which clips, of which split, are found in each layout that people have on disk."""

import pytest

from avsync.core.errors import MediaError, UsageError
from avsync.data.sources import find_sources, read_ids


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def found(data):
    return {(s.split, s.id) for s in find_sources(data)}


@pytest.fixture
def lrs2(tmp_path):
    touch(tmp_path, "mvlrs_v1/main/a/1.mp4", "mvlrs_v1/main/b/1.mp4", "mvlrs_v1/pretrain/c/1.mp4")
    (tmp_path / "pretrain.txt").write_text("c/1\n")
    (tmp_path / "val.txt").write_text("# checked by hand\n\na/1 NF\n")
    (tmp_path / "test.txt").write_text("b/1   # frontal\n")
    return tmp_path


def test_lrs2_with_its_lists_beside_mvlrs_v1(lrs2):
    expected = {("pretrain", "c/1"), ("val", "a/1"), ("test", "b/1")}
    for name in ("pretrain", "val", "test"):
        (lrs2 / f"{name}.txt").rename(lrs2 / "mvlrs_v1" / f"{name}.txt")
    assert found(lrs2) == expected
    assert found(lrs2 / "mvlrs_v1") == expected


def test_lrs2_folders_given_directly_find_the_lists_above_them(lrs2):
    assert {("val", "a/1"), ("test", "b/1")} <= found(lrs2 / "mvlrs_v1" / "main")
    assert ("pretrain", "c/1") in found(lrs2 / "mvlrs_v1" / "pretrain")
    assert found(lrs2 / "mvlrs_v1") == {("pretrain", "c/1"), ("val", "a/1"), ("test", "b/1")}


def test_lines_may_carry_marks_and_comments(tmp_path):
    path = tmp_path / "test.txt"
    path.write_text("﻿633/00011 NF\n# comment\n\n  641/00002\n", encoding="utf-8")
    assert read_ids(path) == ["633/00011", "641/00002"]


def test_a_listed_clip_that_is_missing_is_kept_so_that_preparation_names_it(lrs2):
    (lrs2 / "mvlrs_v1" / "main" / "b" / "1.mp4").unlink()
    (lrs2 / "test.txt").write_text("b/1\na/1\n")
    assert ("test", "b/1") in found(lrs2 / "mvlrs_v1")


def test_an_own_list_names_an_own_folder(tmp_path):
    touch(tmp_path, "main/a/1.mp4", "unaligned/u/1.mp4")
    (tmp_path / "val.txt").write_text("a/1\n")
    (tmp_path / "unaligned.txt").write_text("u/1\n")
    assert found(tmp_path) == {("val", "a/1"), ("unaligned", "u/1")}


def test_lrs3_holds_whole_speakers_out_of_both_training_parts(tmp_path):
    speakers = [f"s{i}" for i in range(20)]
    touch(
        tmp_path,
        *(f"{part}/{s}/{n}.mp4" for part in ("pretrain", "trainval") for s in speakers for n in "12"),
    )
    touch(tmp_path, "test/z/1.mp4", "test/z/1.txt")
    clips = find_sources(tmp_path)
    by_split = {}
    for clip in clips:
        by_split.setdefault(clip.split, set()).add(clip.id.split("/")[0])
    assert set(by_split) == {"pretrain", "train", "val", "test"}
    assert len(by_split["val"]) == 2
    assert not by_split["val"] & (by_split["train"] | by_split["pretrain"])
    assert find_sources(tmp_path) == clips


def test_folders_prepared_in_wav2lip_s_way(tmp_path):
    touch(
        tmp_path, "a/1/0.jpg", "a/1/1.jpg", "a/1/audio.wav", "b/2/0.jpg", "b/2/audio.wav", "c/no-audio/0.jpg"
    )
    assert {i for _, i in found(tmp_path)} == {"a/1", "b/2"}
    (tmp_path / "train.txt").write_text("a/1\n")
    (tmp_path / "val.txt").write_text("b/2\n")
    assert found(tmp_path) == {("train", "a/1"), ("val", "b/2")}


def test_any_folder_of_videos_takes_splits_from_its_folders(tmp_path):
    touch(tmp_path, "train/x/1.MOV", "dev/y/2.mkv", "testing/3.webm", "notes.txt")
    assert found(tmp_path) == {("train", "x/1"), ("val", "y/2"), ("test", "3")}


def test_a_flat_folder_holds_some_clips_out(tmp_path):
    touch(tmp_path, *(f"{i}.mp4" for i in range(10)))
    assert sorted(split for split, _ in found(tmp_path)) == ["train"] * 9 + ["val"]


def test_a_csv_names_paths_and_splits(tmp_path):
    (tmp_path / "clips.csv").write_text("path,split,id\nv/1.mp4,training,one\nv/2.mp4,valid,\n")
    sources = find_sources(tmp_path / "clips.csv")
    assert {(s.split, s.id) for s in sources} == {("train", "one"), ("val", "v/2.mp4")}
    assert sources[0].path == tmp_path / "v/1.mp4"


@pytest.mark.parametrize("text", ["path\nx.mp4\n", "path,split\nx.mp4,\n"])
def test_a_csv_without_splits_is_refused(tmp_path, text):
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(UsageError, match="split"):
        find_sources(tmp_path / "clips.csv")


def test_a_video_given_as_the_csv_is_refused(tmp_path):
    (tmp_path / "talk.mp4").write_bytes(b"\0\0\0\x20ftypisom\x80\xff")
    with pytest.raises(UsageError, match=r"talk\.mp4 is not a CSV file"):
        find_sources(tmp_path / "talk.mp4")


def test_missing_data_and_missing_clips_are_reported(tmp_path):
    with pytest.raises(UsageError, match="no training data"):
        find_sources(tmp_path / "absent")
    with pytest.raises(MediaError, match="holds no clips"):
        find_sources(tmp_path)


def test_the_real_lists(shared):
    sources = find_sources(shared / "lrs2-mini")
    counts = {
        split: sum(s.split == split for s in sources) for split in ("pretrain", "val", "test", "unaligned")
    }
    assert counts == {"pretrain": 1727, "val": 180, "test": 332, "unaligned": 415}
    assert all(s.path.is_file() for s in sources)
