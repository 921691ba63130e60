"""Features of a speech recogniser's encoder, on the same clock as the video.

The encoder is Moonshine's (tiny, English, MIT licence), an ONNX file that the package moonshine-voice brings.
It attends to everything it is given, so long audio goes through it in blocks on a fixed grid of the common
clock, each with a margin on either side: the features of a place do not depend on who asks for them.
"""

from __future__ import annotations

import hashlib
import weakref
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.audio.waveform import let_go
from avsync.core import onnx
from avsync.core.constants import SAMPLE_RATE
from avsync.core.errors import ModelError, SetupError
from avsync.core.records import Waveform

Floats = npt.NDArray[np.float32]

HOP = 384
"""Samples from one feature to the next: the strides 64, 3 and 2 of Moonshine's three convolutions."""
FIRST_CENTRE = 447
"""Centre sample of the first feature's receptive field, by the kernels 127, 7 and 3."""
PAD = 4000
"""Samples of silence added around a clip, in which a recogniser expects speech to begin and end."""
LOUDNESS = 0.08
MOST_GAIN = 10.0
"""Clips are scaled to this RMS, which recognisers expect, with a limited gain."""
FEATURE_RATE = 50
"""Features a second of `SpeechFeatures`: two a frame."""
WIDTH = 288
"""Numbers in a feature of Moonshine tiny."""
BLOCK_S, MARGIN_S = 8, 1.0
"""Seconds of the blocks in which long audio is encoded, and of the margins encoded before and after each."""
BLOCKS_KEPT = 8
"""Blocks whose features are kept: pieces of a track overlap, and several faces share their audio."""

PACKAGE, RELEASE = "moonshine_voice", "0.0.63"
ENCODER = "assets/tiny-en/encoder_model.ort"
ENCODER_SHA256 = "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221"
INSTALL = "pip install 'avsync[speech]'"


class SpeechEncoder:
    """The encoder of Moonshine, run by onnxruntime on the CPU: waves in, features every 24 ms out.

    Raises:
        ModelError: the file is missing or is not such an encoder.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._session = onnx.session(path.read_bytes())
        except OSError as error:
            raise ModelError(f"The speech encoder {path} cannot be read: {error.strerror}.") from error
        except Exception as error:  # onnxruntime's own errors share no base class
            raise ModelError(f"{path} is not an ONNX model: {str(error).splitlines()[0]}") from error
        names = {node.name for node in self._session.get_inputs()}
        if names != {"input_values", "attention_mask"}:
            raise ModelError(f"{path} is not Moonshine's encoder: it takes {', '.join(sorted(names))}.")
        self.width = int(self._session.get_outputs()[0].shape[-1])

    def encode(self, waves: Floats) -> Floats:
        """Waves (n, samples), padded with silence -> features (n, steps, width), one every 24 ms."""
        padded = np.pad(waves, ((0, 0), (PAD, PAD)))
        inputs = {"input_values": padded, "attention_mask": np.ones(padded.shape, np.int64)}
        return np.asarray(self._session.run(None, inputs)[0], np.float32)


def at_speech_level(waves: Floats) -> Floats:
    """(n, samples), each clip scaled to the level of speech."""
    rms = np.sqrt(np.square(waves).sum(1, keepdims=True) / max(1, waves.shape[1]))
    return (waves * np.minimum(MOST_GAIN, LOUDNESS / np.maximum(rms, 1e-9))).astype(np.float32)


def read_at(encoded: Floats, samples: npt.NDArray[np.float64]) -> Floats:
    """Features (steps, width) of a padded wave, interpolated at `samples` (n,) of the wave -> (n, width)."""
    steps = np.clip((samples + PAD - FIRST_CENTRE) / HOP, 0, len(encoded) - 1)
    below = np.minimum(steps.astype(np.int64), len(encoded) - 2)
    part = (steps - below)[:, None].astype(np.float32)
    return np.asarray(encoded[below] * (1 - part) + encoded[below + 1] * part, np.float32)


def installed_encoder() -> Path:
    """The encoder's file in the installed package moonshine-voice, which is not imported.

    Raises SetupError where the package is missing, or brings another encoder."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec else []
    path = next((file for place in places if (file := Path(place) / ENCODER).is_file()), None)
    if path is None:
        raise SetupError(
            f"This model hears through the encoder of Moonshine, which is not installed; "
            f"run: {INSTALL}, or choose another --model."
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != ENCODER_SHA256:
        raise SetupError(
            f"{path} is not the encoder that this model was trained with; "
            f"run: pip install moonshine-voice=={RELEASE}."
        )
    return path


class SpeechFeatures:
    """Moonshine's features of any stretch of a waveform, with the most recent blocks kept."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        self._encoder = encoder
        self._of: weakref.ref[Floats] | None = None
        self._start_s = 0.0
        self._blocks: dict[int, tuple[Floats, int]] = {}

    def span(self, audio: Waveform, start_s: float, count: int) -> Floats:
        """Features (count, width), the first at `start_s` of the common clock, then 50 a second; beyond the
        waveform's ends the nearest ones."""
        if self._of is None or self._of() is not audio.samples or self._start_s != audio.start_s:
            self._of, self._start_s, self._blocks = weakref.ref(audio.samples), audio.start_s, {}
        times = start_s + np.arange(count) / FEATURE_RATE
        end_s = audio.start_s + len(audio.samples) / SAMPLE_RATE
        number = np.floor(np.clip(times, audio.start_s, end_s) / BLOCK_S).astype(np.int64)
        found = np.empty((count, self._encoder.width), np.float32)
        for block in np.unique(number).tolist():
            here = number == block
            encoded, first = self._block(audio, block)
            found[here] = read_at(encoded, (times[here] - audio.start_s) * SAMPLE_RATE - first)
        return found

    def _block(self, audio: Waveform, block: int) -> tuple[Floats, int]:
        """Features (steps, width) of what there is of a block and its margins, and its first sample."""
        if block not in self._blocks:
            while len(self._blocks) >= BLOCKS_KEPT:
                del self._blocks[next(iter(self._blocks))]
            begin = (block * BLOCK_S - MARGIN_S - audio.start_s) * SAMPLE_RATE
            low = min(max(0, round(begin)), len(audio.samples))
            high = max(low, round(begin + (BLOCK_S + 2 * MARGIN_S) * SAMPLE_RATE))
            wave = np.array(audio.samples[low:high], np.float32)
            let_go(audio.samples)
            self._blocks[block] = self._encoder.encode(at_speech_level(wave[None]))[0], low
        return self._blocks[block]


@cache
def installed_features() -> SpeechFeatures:
    """The features of the installed encoder; raises SetupError as `installed_encoder` does."""
    return SpeechFeatures(SpeechEncoder(installed_encoder()))
