"""From a description to a network: VocaLiST's family, SyncNet and Perfect Match, AVST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avsync.avst import Avst, AvstDims
from avsync.model import Dims, VocaLiST
from avsync.network import Network
from avsync.syncnet import SyncNet, SyncNetDims

AnyDims = Dims | SyncNetDims | AvstDims


def dims_from(values: Mapping[str, Any]) -> AnyDims:
    """Dims from plain YAML or JSON values; `family` tells whose they are, VocaLiST's where it is absent.

    Raises TypeError or ValueError for what makes no network."""
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
