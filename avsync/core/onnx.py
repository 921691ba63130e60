"""Networks that onnxruntime runs on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ERRORS_ONLY = 3
"""onnxruntime's number of the messages that it writes to standard error."""


def session(
    graph: bytes, weights: Mapping[str, npt.NDArray[Any]] | None = None, *, one_size: bool = True
) -> InferenceSession:
    """An ONNX model ready to run, in one thread: others decode, and a forked child would wait for a pool of
    threads in vain. `weights` are those that the graph names but does not hold. `one_size`: the inputs have
    few shapes, for each of which the use of memory is planned.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.enable_mem_pattern = one_size
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
