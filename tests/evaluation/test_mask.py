"""Which candidates of short clips are missing: all outside the clip, or as the authors' evaluation has it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from distill_factory import TINY, made_cache

from avsync.core.records import Clip, Waveform
from avsync.data.shards import Store
from avsync.evaluation.protocol import missing
from avsync.evaluation.validation import clip_scores
from avsync.networks.base import Preprocessing, Scorer
from avsync.networks.registry import build_network, parse_dims
from avsync.networks.scoring import audio_windows, visual_tokens

FRONT_ENDS = (TINY, {"family": "syncnet", "width": 0.05})


def as_the_authors_do(scorer: Scorer, store: Store, index: int) -> np.ndarray:
    """Their loop: audio inputs padded with 15 of zeros either way; a row among the first 15 loses what is
    before the clip, any other among the last 15 what is behind it."""
    clip = store.clips[index]
    n = clip.frames - 5
    audio = Waveform(store.wave(index).astype(np.float32) / np.float32(32768), 0.0)
    video = Clip(0, 0.0, np.array(store.mouths(index)))
    heard = audio_windows(video, audio, 0, scorer.model.audio_input)[:n]
    padded = np.pad(heard, ((15, 15), (0, 0), (0, 0))).astype(np.float32)
    visual = visual_tokens(scorer, video.mouths, np.arange(n))
    rows = np.empty((n, 31), np.float32)
    for i in range(n):
        tokens = scorer.model.audio_tokens(torch.from_numpy(padded[i : i + 31, None]))
        rows[i] = scorer.model.pair_logits(visual[[i] * 31], tokens).numpy()
        if i < 15:
            rows[i, : 15 - i] = np.nan
        elif i >= n - 15:
            rows[i, 15 + n - i :] = np.nan
    return rows


@pytest.mark.parametrize("dims", FRONT_ENDS, ids=["vocalist", "syncnet"])
@torch.no_grad()
def test_the_one_sided_mask_is_the_authors_loop(tmp_path: Path, dims: dict) -> None:
    torch.manual_seed(3)
    scorer = Scorer(build_network(parse_dims(dims)).eval(), Preprocessing())
    store = Store(made_cache(tmp_path, {"test": [20, 36]}))
    for index, found in enumerate(clip_scores(scorer, store, mask="one-sided")):
        np.testing.assert_allclose(found, as_the_authors_do(scorer, store, index), rtol=1e-3, atol=1e-4)


def test_the_masks_differ_in_clips_of_fewer_than_thirty_windows_only() -> None:
    for windows in (1, 10, 29, 30, 31, 80):
        starts = np.arange(windows)
        both, one = (missing(starts, windows, mask) for mask in ("both", "one-sided"))
        assert not (one & ~both).any()
        assert (one != both).any() == (windows < 30)
