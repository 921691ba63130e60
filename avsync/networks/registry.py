"""From a description to a network: VocaLiST's family, SyncNet and Perfect Match, AVST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avsync.core.errors import UsageError
from avsync.networks.avst import Avst, AvstDims
from avsync.networks.base import Network
from avsync.networks.dims import STUDENT, TEACHER, Dims
from avsync.networks.syncnet import SyncNet, SyncNetDims
from avsync.networks.vocalist import VocaLiST

AnyDims = Dims | SyncNetDims | AvstDims


def dims_from(values: Mapping[str, Any]) -> AnyDims:
    """Dims from plain YAML or JSON values; `family` names the kind, VocaLiST's where absent.

    Raises TypeError or ValueError where they do not describe a network."""
    family = values.get("family")
    if family is None:
        return Dims.from_dict(dict(values))
    if family in ("syncnet", "perfect-match"):
        return SyncNetDims(**values)
    if family == "avst":
        return AvstDims(**{**values, "channels": tuple(values.get("channels", AvstDims.channels))})
    raise ValueError(f"there is no family of networks called {family!r}")


def build_network(dims: AnyDims) -> Network:
    """A network of that shape with random weights, in training mode."""
    match dims:
        case SyncNetDims():
            return SyncNet(dims)
        case AvstDims():
            return Avst(dims)
        case Dims():
            return VocaLiST(dims)


DUAL = Dims(
    front_end="frame2d",
    channels=(24, 32, 64, 96, 128),
    audio_channels=(16, 16, 32, 64, 128),
    d_model=128,
    layers=0,
    contrast=256,
)
"""Independent encoders whose embeddings are compared, as the bundled model is."""


ARCHITECTURES: dict[str, AnyDims] = {
    "mtdvocalist": STUDENT,
    "student": STUDENT,
    "vocalist": TEACHER,
    "teacher": TEACHER,
    "syncnet": SyncNetDims("syncnet"),
    "perfect-match": SyncNetDims("perfect-match"),
    "avst": AvstDims(),
    "dual": DUAL,
}
"""Names for --arch and for `student:` in YAML."""


def parse_dims(value: Any) -> AnyDims:
    """A name of ARCHITECTURES, or the dims themselves."""
    if isinstance(value, AnyDims):
        return value
    if isinstance(value, str):
        if value not in ARCHITECTURES:
            raise UsageError(f"There is no architecture {value!r}; choose one of {', '.join(ARCHITECTURES)}.")
        return ARCHITECTURES[value]
    try:
        return dims_from(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"These dims make no network: {error}.") from error
