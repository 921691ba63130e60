"""The published protocol on prepared clips, with intervals over clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from distill_factory import made_cache

from avsync.bench.accuracy import (
    PAIRS_A_CLIP,
    by_label,
    evaluate_clips,
    evaluate_model,
    f1_with_interval,
    summarise,
    validation_f1,
)
from avsync.bench.clip_result import ClipResult
from avsync.bench.corruptions import parse_corruptions
from avsync.core.report import FaceDistance
from avsync.data.loading import reader
from avsync.data.pairs import validation_pairs
from avsync.data.shards import ShardWriter, Store, StoredClip
from avsync.evaluation.protocol import existing_hits, protocol_hits
from avsync.evaluation.validation import pair_scores
from avsync.networks.base import Preprocessing
from avsync.networks.checkpoint import load, save
from avsync.networks.dims import Dims
from avsync.networks.syncnet import SyncNet, SyncNetDims
from avsync.networks.vocalist import VocaLiST

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1)


def test_missing_candidates_say_nothing_where_the_protocol_lets_the_middle_win() -> None:
    rng = np.random.default_rng(0)
    n = 26
    logits = rng.standard_normal((n, 31))
    logits[:, 20] += 8  # five frames away from the truth, wherever it exists
    position = np.arange(n)[:, None] + np.arange(-15, 16)
    logits[(position < 0) | (position >= n)] = np.nan
    wrong = np.isfinite(logits[:, 20])
    assert not existing_hits(logits, 5)[wrong].any()
    assert existing_hits(logits, 15)[wrong].mean() < 0.2
    assert protocol_hits(logits, 15)[wrong].mean() > existing_hits(logits, 15)[wrong].mean()


def test_with_all_candidates_present_both_ways_agree() -> None:
    logits = np.random.default_rng(1).standard_normal((40, 31))
    for k in (5, 9, 15):
        np.testing.assert_array_equal(existing_hits(logits, k), protocol_hits(logits, k))


def test_every_clip_is_evaluated_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    writer = ShardWriter(tmp_path, 0)
    for name, frames in (("aa01/1", 40), ("bb01/1", 6), ("cc01/1", 5)):
        images = rng.integers(0, 256, (frames, 68, 116, 3), np.uint8)
        wave = rng.integers(-3000, 3000, frames * 640).astype(np.int16)
        writer.add(StoredClip(name, "test", name, "", frames, len(wave), 25.0), [images], wave)
    writer.close()
    torch.manual_seed(0)
    loaded = load(save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()), "cpu")
    results = evaluate_clips(loaded, Store(tmp_path, ["test"]))
    assert [(r.id, r.windows, r.source) for r in results] == [("aa01/1", 35, "aa"), ("bb01/1", 1, "bb")]


def test_a_clip_that_is_known_to_be_off_is_evaluated_in_sync(tmp_path: Path) -> None:
    torch.manual_seed(0)
    loaded = load(save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()), "cpu")
    store = Store(made_cache(tmp_path / "cache", {"test": [60]}), ["test"])
    name = store.clips[0].id
    (plain,) = evaluate_clips(loaded, store)
    (right,) = evaluate_clips(loaded, store, delays={name: 0.0})
    (moved,) = evaluate_clips(loaded, store, delays={name.split("/")[0]: 120.0})
    assert right == plain
    assert moved.offset_ms != plain.offset_ms


def test_the_interval_is_over_clips() -> None:
    def clip(share: float, offset: float | None) -> ClipResult:
        return ClipResult("aa/1", 10, (share,) * 6, (share,) * 6, offset, 0.9, 3.0)

    row = summarise([clip(1.0, 10.0)] * 50 + [clip(0.0, 300.0)] * 25 + [clip(0.0, None)] * 25)
    mean, low, high = row["window_accuracy"]["5"]
    assert mean == 50.0
    assert low == pytest.approx(40, abs=3)
    assert high == pytest.approx(60, abs=3)
    assert row["whole_clip_accuracy"][0] == 50.0
    assert row["median_error_ms"] == 10.0


def test_clips_are_told_apart_by_label(tmp_path: Path) -> None:
    def clip(name: str, offset: float) -> ClipResult:
        return ClipResult(name, 10, (1.0,) * 6, (1.0,) * 6, offset, 0.9, 3.0)

    found = [clip("aa/1", 0.0), clip("aa/2", 200.0), clip("bb/1", 10.0), clip("cc/1", 0.0)]
    rows = by_label(found, {"bb": "turned", "aa": "frontal", "aa/2": "turned", "dd": "nobody"})
    assert list(rows) == ["turned", "frontal"]
    assert [row["clips"] for row in rows.values()] == [2, 1]
    assert rows["turned"]["whole_clip_accuracy"][0] == 50.0


def test_only_sure_answers_count_as_answered() -> None:
    def clip(offset: float | None, sure: float) -> ClipResult:
        return ClipResult("aa/1", 10, (1.0,) * 6, (1.0,) * 6, offset, sure, 3.0)

    row = summarise([clip(0.0, 0.9), clip(200.0, 0.8), clip(200.0, 0.2), clip(None, 0.0)])
    assert (row["answered_clips"], row["wrong_clips"]) == (2, 1)


def test_corrupted_clips_have_rows_of_their_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    loaded = load(save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()), "cpu")
    store = Store(made_cache(tmp_path / "cache", {"test": [60, 40]}), ["test"])
    told: list[tuple[int, int]] = []
    row = evaluate_model(
        loaded, store, store.select(lambda _: False), lambda *at: told.append(at),
        corruptions=parse_corruptions("lowres:96,mask,whisper"),
    )  # fmt: skip
    assert list(row["corrupted"]) == ["lowres:96", "mask", "whisper"]
    same = row["corrupted"]["lowres:96"]
    assert same == {name: row[name] for name in same}, "full size is no change"
    assert told[-1] == (8, 8) and len(told) == 8


def test_f1_counts_pairs_called_in_sync_and_its_interval_is_over_clips() -> None:
    clips, true = np.repeat(np.arange(40), 8), np.tile([True, False], 160)

    def f1(*said: bool) -> list[float]:
        """Where the pairs of each clip, in sync and not in turn, are called in sync like this in turn."""
        return f1_with_interval(clips, np.resize(said, 320), true)

    assert f1(True, False) == [100.0, 100.0, 100.0]
    assert f1(True, True)[0] == pytest.approx(66.7, abs=0.1)
    mean, low, high = f1(True, False, False, False)
    assert low <= mean <= high
    assert mean == pytest.approx(66.7, abs=0.1)


def test_f1_of_validation_is_that_of_the_pairs_above_zero(tmp_path: Path) -> None:
    store = Store(made_cache(tmp_path, {"val": [30] * 4}), ["val"])
    torch.manual_seed(0)
    loaded = load(save(tmp_path / "tiny", VocaLiST(TINY).eval(), Preprocessing()), "cpu")
    pairs = validation_pairs(store.windows, PAIRS_A_CLIP)
    logits = pair_scores(loaded, reader(store, loaded.device), pairs, 5, loaded.model.audio_input)
    assert validation_f1(loaded, store) == f1_with_interval(pairs.clips, logits > 0, pairs.labels == 1)


def test_no_clip_with_a_window_is_an_error() -> None:
    with pytest.raises(ValueError, match="no clip"):
        summarise([])


def test_syncnet_is_also_evaluated_by_its_own_evaluation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = save(tmp_path / "syncnet", SyncNet(SyncNetDims()).eval(), Preprocessing())
    store = Store(made_cache(tmp_path / "cache", {"test": [12]}), ["test"])
    (result,) = evaluate_clips(load(path, "cpu"), store)
    assert result.syncnet is not None and -15 <= result.syncnet.offset <= 15
    answers = [replace(result, syncnet=FaceDistance(n, 1.0, float(n), 20)) for n in (0, 1, 3)]
    row = summarise(answers)
    assert row["syncnet_whole_clip_accuracy"][0] == pytest.approx(66.67, abs=0.01)
    assert row["syncnet_median_confidence"] == 1.0
    assert "syncnet_median_confidence" not in summarise([replace(result, syncnet=None)])
