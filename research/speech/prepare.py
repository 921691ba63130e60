"""Inputs of `train.py`: what the frozen parts of avsync-4 and Moonshine's encoder make of augmented runs.

    python research/speech/prepare.py CACHE OUT --steps 250
    python research/speech/prepare.py CACHE OUT --validation
    python research/speech/prepare.py CACHE OUT --steps 340 --seed 78 --deaf --model ears.safetensors

CACHE is the folder of prepared clips that avsync-4 was trained from. Each step is one file of OUT: sixteen
runs of 22 to 45 frames, drawn and augmented as in the last stages of the training of avsync-4. With
--validation each file is one whole clip of `val`, as it is, put right by its known delay. Files that exist
are kept, so it may be stopped. With --deaf there are no features of the recogniser.
Needs the extra `speech`; some four seconds of one core a step.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor

from avsync.audio.speech import FEATURE_RATE, SpeechEncoder, at_speech_level, installed_encoder, read_at
from avsync.core.constants import FRAME_RATE, HOP_SAMPLES, SAMPLE_RATE, WINDOW_FRAMES
from avsync.core.files import write_whole
from avsync.data.augment import NONE, Augmentation, augment_frames, augment_mels, augment_waves
from avsync.data.beyond import replace_beyond
from avsync.data.dense_batch import Runs, at_tempo, audio_spans, draw_runs, fetch_runs
from avsync.data.labels import delay_of, read_delays, shares
from avsync.data.loading import HALF_FFT, Streamed, cut, log_mels, scaled
from avsync.data.shards import SAMPLES_PER_FRAME, Store
from avsync.networks import checkpoint
from avsync.networks.base import Scorer

SPLITS, MEASURED = ["pretrain", "unaligned", "wild"], ("unaligned", "wild")
VALIDATION = ["val", "unaligned", "wildval"]
VALIDATION_DELAYS = "research/labels/val-delays.json"
RUNS, LENGTH, SHORTEST = 16, 45, 22
CONTEXT = 61
"""Mel columns before and after a run: 0.76 s of audio, of which the recogniser gets a random part, so that
where its input begins says nothing of where the run does."""
LEAD_S = 0.4
"""At most so much of the audio before a run is kept from the recogniser."""
EDGE = 8
"""Frames before and after a run whose speech features are stored too."""
LEAST_WINDOWS = 2
AMOUNT = Augmentation(noise_p=0.35, reverb_p=0.2, erase_p=0.1, tempo_p=0.25, beyond_p=0.7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--delays", default="models/avsync-4-wide.delays.json")
    parser.add_argument("--model", default="avsync-4")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    scorer = checkpoint.load(given.model, "cpu")
    encoder = None if given.deaf else SpeechEncoder(installed_encoder())
    if given.validation:
        prepare_validation(scorer, encoder, given.cache, given.out)
    else:
        prepare_steps(scorer, encoder, given)


def prepare_steps(scorer: Scorer, encoder: SpeechEncoder | None, given: argparse.Namespace) -> None:
    """Augmented runs of the clips to train on, `given.steps` files of them."""
    known = read_delays(given.delays)
    store = Store(given.cache, SPLITS, min_windows=8).select(
        lambda clip: clip.split not in MEASURED or delay_of(clip, known) is not None
    )
    frames = np.array([min(clip.frames, clip.samples // SAMPLES_PER_FRAME + 3) for clip in store.clips])
    delays = np.array([delay_of(clip, known) or 0.0 for clip in store.clips])
    share, source = shares(store, 0.5), Streamed(store, torch.device("cpu"))
    for step in range(given.steps):
        path = given.out / f"{step:05d}.safetensors"
        if path.exists():
            continue
        rng = np.random.default_rng([given.seed, step])
        runs = draw_runs(rng, frames, share, delays, RUNS, LENGTH, AMOUNT, SHORTEST)
        made = inputs(scorer, encoder, source, runs, rng, AMOUNT)
        write_whole(path, safetensors.torch.save(made), what="the inputs of a step")


def prepare_validation(scorer: Scorer, encoder: SpeechEncoder | None, cache: Path, out: Path) -> None:
    """Whole clips whose delay is known, as they are, without the first axis of `inputs`."""
    known = read_delays(VALIDATION_DELAYS)
    store = Store(cache, VALIDATION).select(lambda clip: delay_of(clip, known) is not None)
    source, one = Streamed(store, torch.device("cpu")), np.ones(1)
    for number, clip in enumerate(store.clips):
        path = out / f"{clip.split}-{clip.id.replace('/', '-')}.safetensors"
        windows = min(clip.frames, clip.samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES
        if path.exists() or windows < LEAST_WINDOWS:
            continue
        length = np.array([windows + WINDOW_FRAMES - 1])
        delay = np.array([delay_of(clip, known) or 0.0])
        runs = Runs(np.array([number]), length, 0 * one, length, one, one, delay, 0 * one)
        made = inputs(scorer, encoder, source, runs, np.random.default_rng(0), NONE)
        whole = {name: made[name][0] for name in made if made[name].ndim > 1}
        write_whole(path, safetensors.torch.save(whole), what="the inputs of a clip")


@torch.no_grad()
def inputs(
    scorer: Scorer,
    encoder: SpeechEncoder | None,
    source: Streamed,
    runs: Runs,
    rng: np.random.Generator,
    amount: Augmentation,
) -> dict[str, Tensor]:
    """Of n runs: `lengths` (n,) in frames, `true` (n,) frames by which the audio is late, `frames`
    (n, t, d) frame tokens, `columns` (n, columns, d) audio tokens with CONTEXT around them, and with an
    encoder `speech` (n, 2 (t + 2 EDGE), 288)."""
    model = scorer.model
    raw = fetch_runs(source, runs, CONTEXT)
    plain = amount == NONE
    images = cut(raw.frames) if plain else augment_frames(raw.frames, rng, amount)
    waves = raw.waves
    if not plain:
        waves = augment_waves(replace_beyond(waves, audio_spans(runs, CONTEXT), rng, amount), rng, amount)
    mels = log_mels(waves) if plain else augment_mels(log_mels(waves), rng, amount)
    mels = at_tempo(mels, runs.tempo, runs.columns(CONTEXT))
    with torch.autocast("cpu", torch.bfloat16, enabled=not plain):
        pixels = scaled(images.flatten(0, 1), scorer.preprocessing)
        parts = [
            model.frame_tokens(p.contiguous(memory_format=torch.channels_last)) for p in pixels.split(180)
        ]
        columns = model.column_tokens(mels)
    made = {
        "lengths": torch.from_numpy(runs.lengths),
        "true": torch.from_numpy(runs.shift_ms * FRAME_RATE / 1000),
        "frames": torch.cat(parts).unflatten(0, images.shape[:2]).half(),
        "columns": columns.half().contiguous(),
    }
    if encoder is not None:
        most_s = 0 if plain else LEAD_S
        made["speech"] = recognised(encoder, waves.numpy(), runs.tempo, images.shape[1], most_s, rng)
    return made


def recognised(
    encoder: SpeechEncoder,
    waves: npt.NDArray[np.float32],
    tempo: npt.NDArray[np.float64],
    frames: int,
    most_s: float,
    rng: np.random.Generator,
) -> Tensor:
    """Features (n, 2 (frames + 2 EDGE), 288) of runs and what is around them, of whose audio (n, samples) up
    to `most_s` at the beginning is withheld."""
    lead = np.floor(rng.uniform(0, most_s * SAMPLE_RATE, len(waves)) * np.minimum(1, tempo)).astype(np.int64)
    kept = waves.shape[1] - int(lead.max())
    encoded = encoder.encode(
        at_speech_level(np.stack([wave[a : a + kept] for wave, a in zip(waves, lead, strict=True)]))
    )
    played = np.arange(-2 * EDGE, 2 * (frames + EDGE)) * SAMPLE_RATE / FEATURE_RATE
    first = HALF_FFT + CONTEXT * HOP_SAMPLES * tempo - lead
    speech = [read_at(of, at + played * pace) for of, at, pace in zip(encoded, first, tempo, strict=True)]
    return torch.from_numpy(np.stack(speech)).half()


if __name__ == "__main__":
    main()
