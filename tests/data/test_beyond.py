"""What is heard before and after a run of frames does not tell where its frames begin and end."""

import numpy as np
import pytest
import torch
from distill_factory import made_cache, whole_runs

from avsync.core.constants import SAMPLE_RATE
from avsync.data.augment import NONE, Augmentation
from avsync.data.beyond import FADE_S, INSIDE_S, OUTSIDE_S, Spans, replace_beyond
from avsync.data.dense_batch import audio_spans, dense_inputs, fetch_runs
from avsync.data.loading import Streamed
from avsync.data.shards import SAMPLES_PER_FRAME, Store

ALWAYS = Augmentation(beyond_p=1.0)
CONTEXT = 26


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Clips of 30, 80 and 30 frames."""
    return Store(made_cache(tmp_path_factory.mktemp("cache"), {"train": [30, 30, 80]}))


def fetched(store, runs):
    return fetch_runs(Streamed(store, torch.device("cpu")), runs, CONTEXT).waves


def kept_audio(before, after):
    """Where the audio around the middle of each row that is as it was begins and ends, (n, 2)."""
    middle = before.shape[1] // 2
    changed = [torch.nonzero(a != b)[:, 0].numpy() for a, b in zip(before, after, strict=True)]
    return np.array(
        [
            [max(at[at < middle], default=-1) + 1, min(at[at > middle], default=before.shape[1])]
            for at in changed
        ]
    )


def test_the_spans_are_where_the_audio_of_run_and_clip_begins_and_ends(store):
    whole = whole_runs([0], [0], [30])
    waves, spans = fetched(store, whole), audio_spans(whole, CONTEXT)
    own = store.wave(0).astype(np.float32) / 32768
    first, stop = spans.clip[0].astype(int)
    np.testing.assert_array_equal(waves[0, first:stop], own)
    np.testing.assert_array_equal(spans.run, spans.clip)
    later = whole_runs([1], [10], [20], shift_ms=80.0)
    spans = audio_spans(later, CONTEXT)
    assert (spans.clip[0, 0] - spans.run[0, 0]) == -(10 - 2) * SAMPLES_PER_FRAME
    assert np.diff(spans.run)[0] == 20 * SAMPLES_PER_FRAME


@pytest.mark.parametrize("tempo", [0.5, 1.0, 2.0])
def test_the_spans_are_those_of_the_audio_before_its_tempo_is_kept_audio(store, tempo):
    runs = whole_runs([1], [0], [round(80 / tempo)], tempo=tempo)
    spans, waves = audio_spans(runs, CONTEXT), fetched(store, runs)
    first, stop = spans.run[0].astype(int)
    np.testing.assert_allclose(waves[0, first:stop], store.wave(1)[: stop - first] / 32768, atol=1e-6)


def test_nothing_is_drawn_or_changed_unless_asked_for(store):
    runs, rng = whole_runs([0, 2], [0, 0], [30, 30]), np.random.default_rng(0)
    waves = fetched(store, runs)
    assert replace_beyond(waves, audio_spans(runs, CONTEXT), rng, Augmentation()) is waves
    assert rng.random() == np.random.default_rng(0).random()


def test_all_but_the_ends_of_a_run_keeps_its_audio(store):
    runs = whole_runs([0, 1, 2] * 20, [0, 30, 0] * 20, [30, 30, 30] * 20)
    waves, spans = fetched(store, runs), audio_spans(runs, CONTEXT)
    after = replace_beyond(waves, spans, np.random.default_rng(1), ALWAYS)
    inside = round((INSIDE_S + 0.001) * SAMPLE_RATE)
    for row, (first, stop) in enumerate(spans.run.astype(int)):
        kept = slice(first + inside, stop - inside)
        torch.testing.assert_close(after[row, kept], waves[row, kept], rtol=0, atol=0)


def test_the_audio_of_a_whole_file_never_ends_where_its_frames_do(store):
    runs = whole_runs([0, 2] * 30, [0, 0] * 30, [30, 30] * 30)
    waves, spans = fetched(store, runs), audio_spans(runs, CONTEXT)
    after = replace_beyond(waves, spans, np.random.default_rng(2), ALWAYS)
    first, stop = (kept_audio(waves, after) - spans.run).T / SAMPLE_RATE
    for inwards in (first, -stop):
        assert (inwards > 0).all()
        assert inwards.max() <= INSIDE_S + 0.001
        assert np.std(inwards) > INSIDE_S / 5, "anywhere between"


def test_in_a_longer_clip_it_ends_anywhere_around_the_run(store):
    runs = whole_runs([1] * 200, [25] * 200, [30] * 200)
    spans = audio_spans(runs, CONTEXT)
    spans = Spans(np.array([[-np.inf, np.inf]] * 200), spans.run)
    waves = fetched(store, runs)
    after = replace_beyond(waves, spans, np.random.default_rng(3), ALWAYS)
    ends = (kept_audio(waves, after)[:, 1] - spans.run[:, 1]) / SAMPLE_RATE
    assert -INSIDE_S <= ends.min() < -INSIDE_S / 2
    seen = CONTEXT / 80
    assert ends.max() > seen, "beyond what the last window hears"
    shares = np.histogram(ends, 4, (-INSIDE_S, OUTSIDE_S - INSIDE_S))[0] / len(ends)
    assert shares.min() > 0.1
    assert FADE_S[1] < INSIDE_S


def test_what_follows_is_another_voice_noise_silence_or_a_mirror_image(store):
    runs = whole_runs([0, 2] * 100, [0, 0] * 100, [30, 30] * 100)
    waves, spans = fetched(store, runs), audio_spans(runs, CONTEXT)
    after = replace_beyond(waves, spans, np.random.default_rng(4), ALWAYS)
    tail = after[:, int(spans.run[0, 1]) + round(FADE_S[1] * SAMPLE_RATE) :]
    level = tail.square().mean(1).sqrt() / waves[:, 6000:12000].square().mean(1).sqrt()
    silent = float((level == 0).float().mean())
    assert 0.1 < silent < 0.3
    assert float((level > 0.02).float().mean()) > 0.5
    assert not bool(torch.isnan(after).any())


def test_a_batch_hears_it_only_when_the_recipe_says_so(store):
    runs = whole_runs([0, 2], [0, 0], [30, 30])
    raw = fetch_runs(Streamed(store, torch.device("cpu")), runs, CONTEXT)
    silent = dense_inputs(raw, runs, np.random.default_rng(0), NONE, CONTEXT).mels[:, :, : CONTEXT - 4]
    assert bool((silent == -4).all())
    only = Augmentation(**{**{k: NONE.__dict__[k] for k in NONE.__dict__}, "beyond_p": 1.0})
    heard = dense_inputs(raw, runs, np.random.default_rng(0), only, CONTEXT).mels[:, :, : CONTEXT - 4]
    assert bool((heard > -4).any())
