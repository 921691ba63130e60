"""Preparation: made once, resumable, and honest about what cannot be used."""

import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from distill_factory import face, speech, wav2lip_clip, wav2lip_set

from avsync.core.errors import MediaError, ModelError, OutputError
from avsync.core.records import FaceTrack
from avsync.data import prepare as preparing
from avsync.data.cut import cut_prepared, cut_video, main_face
from avsync.data.prepare import prepare
from avsync.data.shards import MARGIN, REGION, Store, read_shards
from avsync.data.sources import Source, find_sources


def counted(monkeypatch):
    """Ids of the folders that are really cut."""
    seen = []
    real = preparing.cut_prepared
    monkeypatch.setattr(preparing, "cut_prepared", lambda path: seen.append(path.name) or real(path))
    return seen


def test_wav2lip_folders_are_read_whole_and_on_one_clock(tmp_path):
    wav2lip_clip(tmp_path / "c", 1, frames=24)
    clip = cut_prepared(tmp_path / "c")
    loud, wave = speech(1, 24)
    assert clip.frames.shape == (24, *REGION)
    assert clip.fps == 25
    assert np.abs(clip.wave.astype(int) - wave).max() <= 1
    # The mouth lies in the lower half, and its darkness follows the loudness.
    dark = -clip.frames[:, MARGIN:-MARGIN, MARGIN:-MARGIN].mean((1, 2, 3))
    assert np.corrcoef(dark, loud)[0, 1] > 0.9


def test_the_inner_region_is_the_lower_half_of_the_image(tmp_path):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (96, 96, 3), np.uint8), (0, 0), 3)
    wav2lip_clip(tmp_path / "c", 1, frames=12)
    cv2.imwrite(str(tmp_path / "c" / "0.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
    inner = cut_prepared(tmp_path / "c").frames[0, MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert np.abs(inner.astype(int) - image[48:, :, ::-1]).mean() < 2


def test_a_second_run_prepares_nothing_and_a_changed_clip_only_itself(tmp_path, monkeypatch):
    data = wav2lip_set(tmp_path / "data")
    cut = counted(monkeypatch)
    told = []
    prepare(find_sources(data), tmp_path / "cache", workers=1, progress=lambda *a: told.append(a[:2]))
    assert len(cut) == 9
    assert told[-1] == (9, 9)
    prepare(find_sources(data), tmp_path / "cache", workers=1)
    assert len(cut) == 9
    shutil.rmtree(data / "t" / "2")
    wav2lip_clip(data / "t" / "2", 999, frames=40)
    prepare(find_sources(data), tmp_path / "cache", workers=1)
    assert cut[9:] == ["2"]
    store = Store(tmp_path / "cache")
    assert len(store) == 9
    assert {c.id: c.frames for c in store.clips}["t/2"] == 40


def test_the_same_files_elsewhere_and_with_other_times_are_not_prepared_again(tmp_path, monkeypatch):
    data = wav2lip_set(tmp_path / "data")
    (data / "train.txt").write_text("t/0\nt/1\nt/2\nt/x\n")
    (data / "t" / "x.mp4").write_text("no video")
    prepare(find_sources(data), tmp_path / "cache", workers=1)
    cut = counted(monkeypatch)
    copy = tmp_path / "copy"
    shutil.copytree(data, copy, copy_function=shutil.copyfile)
    for path in copy.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    assert [b.id for b in prepare(find_sources(copy), tmp_path / "cache", workers=1)] == ["t/x"]
    assert cut == []
    audio = bytearray((copy / "t" / "2" / "audio.wav").read_bytes())
    audio[-2000:] = bytes(2000)
    (copy / "t" / "2" / "audio.wav").write_bytes(audio)
    prepare(find_sources(copy), tmp_path / "cache", workers=1)
    assert cut == ["2"]


def test_a_clip_that_is_changed_and_changed_back_is_that_of_the_last_run(tmp_path):
    data = wav2lip_set(tmp_path / "data")
    shutil.copytree(data / "t" / "2", tmp_path / "kept")
    prepare(find_sources(data), tmp_path / "cache", workers=1)
    frames = {c.id: c.frames for c in Store(tmp_path / "cache").clips}["t/2"]
    for source in (None, tmp_path / "kept"):
        shutil.rmtree(data / "t" / "2")
        if source:
            shutil.copytree(source, data / "t" / "2")
        else:
            wav2lip_clip(data / "t" / "2", 999, frames=40)
        prepare(find_sources(data), tmp_path / "cache", workers=1)
    assert frames != 40
    assert {c.id: c.frames for c in Store(tmp_path / "cache").clips}["t/2"] == frames


def test_what_was_prepared_before_contents_were_noted_still_counts(tmp_path, monkeypatch):
    data = wav2lip_set(tmp_path / "data")
    prepare(find_sources(data), tmp_path / "cache", workers=1)
    for shard in (tmp_path / "cache").glob("*.json"):
        record = json.loads(shard.read_text())
        for entry in record["clips"] + record["broken"]:
            del entry["content"]
        shard.write_text(json.dumps(record))
    cut = counted(monkeypatch)
    prepare(find_sources(data), tmp_path / "cache", workers=1)
    assert cut == []


def test_a_stopped_preparation_goes_on_with_the_rest(tmp_path, monkeypatch):
    data = wav2lip_set(tmp_path / "data")
    cut = counted(monkeypatch)

    def stop(done, *_):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(find_sources(data), tmp_path / "cache", workers=1, progress=stop)
    before = len(cut)
    assert 4 <= before < 9
    prepare(find_sources(data), tmp_path / "cache", workers=1)
    assert len(cut) == 9
    assert len(Store(tmp_path / "cache")) == 9


def test_several_processes_give_the_same_cache_as_one(tmp_path):
    data = wav2lip_set(tmp_path / "data", train=3, val=1)
    for name, workers in (("one", 1), ("two", 2)):
        prepare(find_sources(data), tmp_path / name, workers=workers)
    one, two = (Store(tmp_path / name) for name in ("one", "two"))
    assert one.clips == two.clips
    for number in range(len(one)):
        assert (one.frames(number) == two.frames(number)).all()
        assert (one.wave(number) == two.wave(number)).all()


def test_broken_clips_are_listed_with_the_reason_and_stop_nothing(tmp_path):
    data = wav2lip_set(tmp_path / "data")
    (data / "t" / "1" / "3.jpg").write_bytes(b"no image")
    (data / "t" / "x.mp4").write_text("no video")
    (data / "train.txt").write_text("t/0\nt/1\nt/x\nt/missing\n")
    broken = prepare(find_sources(data), tmp_path / "cache", workers=1)
    assert {b.id for b in broken} == {"t/1", "t/x", "t/missing"}
    with (tmp_path / "cache" / "broken.csv").open() as file:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert "3.jpg is not a readable image" in reasons["t/1"]
    assert all(reason.endswith(".") for reason in reasons.values())
    assert {c.id for c in Store(tmp_path / "cache", ["train"]).clips} == {"t/0"}


def test_broken_clips_are_tried_again_when_asked_or_when_their_file_changes(tmp_path, monkeypatch):
    data = wav2lip_set(tmp_path / "data", train=2, val=1)
    (data / "t" / "1" / "0.jpg").write_bytes(b"no image")
    prepare(find_sources(data), tmp_path / "cache", workers=1)
    cv2.imwrite(str(data / "t" / "1" / "0.jpg"), face(0.5))
    cut = counted(monkeypatch)
    assert len(prepare(find_sources(data), tmp_path / "cache", workers=1)) == 1
    assert not cut
    assert not prepare(find_sources(data), tmp_path / "cache", workers=1, retry=True)
    assert cut == ["1"]
    assert not (tmp_path / "cache" / "broken.csv").exists()


def test_data_without_one_usable_clip_is_an_error(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(MediaError, match="Not one of the 1 clips can be used"):
        prepare([Source("a", "train", tmp_path / "a.mp4")], tmp_path / "cache", workers=1)


def test_a_missing_detector_is_not_blamed_on_the_clips(tmp_path, monkeypatch):
    def no_detector(path):
        raise ModelError("There is no detector.")

    monkeypatch.setattr(preparing, "cut_video", no_detector)
    with pytest.raises(ModelError, match="no detector"):
        prepare([Source("a", "train", tmp_path / "a.mp4")], tmp_path / "cache", workers=1)
    assert read_shards(tmp_path / "cache") == []


def test_a_full_disk_is_reported_and_the_work_so_far_is_kept(tmp_path, monkeypatch):
    data = wav2lip_set(tmp_path / "data")
    sources, real, calls = find_sources(data), preparing.ShardWriter.add, []

    def full(self, *args):
        calls.append(1)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        real(self, *args)

    monkeypatch.setattr(preparing.ShardWriter, "add", full)
    with pytest.raises(OutputError, match=r"disk of .* is full, so preparation stopped: free some space"):
        prepare(sources, tmp_path / "cache", workers=1)
    monkeypatch.setattr(preparing.ShardWriter, "add", real)
    assert len(Store(tmp_path / "cache")) >= 3
    prepare(sources, tmp_path / "cache", workers=1)
    assert len(Store(tmp_path / "cache")) == 9


def track(number, frames, height, seen=None):
    boxes = np.tile(np.array([0.1, 0.1, 0.1 + height, 0.1 + height], np.float32), (frames, 1))
    return FaceTrack(number, 0, 0.0, boxes, np.ones(frames, bool) if seen is None else seen, 0.9)


def test_the_main_face_is_large_and_long_and_only_where_it_is_seen(tmp_path):
    gap = np.ones(40, bool)
    gap[25] = False
    chosen, first, stop = main_face(tmp_path, [track(0, 40, 0.1), track(1, 40, 0.4, gap), track(2, 12, 0.5)])
    assert (chosen.track, first, stop) == (1, 0, 25)
    with pytest.raises(MediaError, match=r"shows no face for 0\.4 s"):
        main_face(tmp_path, [track(0, 6, 0.5)])


def test_real_clips_are_cut_by_the_products_own_stages(shared):
    """An in-sync clip of LRS2's kind: the cut has its length, its face and its audio."""
    path = shared / "lrs2-mini" / "main"
    source = next(s for s in find_sources(shared / "lrs2-mini") if s.split == "val" and s.id.startswith("ar"))
    assert path in source.path.parents
    clip = cut_video(source.path)
    assert 20 <= len(clip.frames) <= 40
    assert clip.frames.shape[1:] == REGION
    assert clip.frames.std() > 10
    assert abs(len(clip.wave) - 640 * len(clip.frames)) < 3200
    assert np.abs(clip.wave).max() > 500
