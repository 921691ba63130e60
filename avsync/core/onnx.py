"""Networks that onnxruntime runs on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ERRORS_ONLY = 3
"""onnxruntime's number of the messages that it writes to standard error."""
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Read as onnxruntime loads, which otherwise tells its maker what is run, and leaves an identifier of the
machine and files in the temporary folder."""


def runtime() -> Any:
    """The package onnxruntime, which tells nobody what it is used for; import it only here."""
    os.environ[NO_TELEMETRY] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # on Windows, where the variable is not read
    return onnxruntime


def session(
    graph: bytes, weights: Mapping[str, npt.NDArray[Any]] | None = None, *, few_sizes: bool = True
) -> InferenceSession:
    """An ONNX model ready to run, in one thread: others decode, and a forked child would wait for a pool of
    threads in vain. `weights` are those that the graph names but does not hold. `few_sizes`: the inputs have
    few shapes, for each of which the use of memory is planned.
    """
    onnxruntime = runtime()
    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.enable_mem_pattern = few_sizes
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
