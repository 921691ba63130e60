"""Face detectors and models that other packages bring, under the entry points that their metadata name:

    [project.entry-points."avsync.detectors"]
    my-detector = "my_package:make_detector"     # () -> faces.detect.Detect

    [project.entry-points."avsync.models"]
    my-model = "my_package:load"                 # (device: str) -> networks.checkpoint.Loaded

A name that avsync itself knows cannot be taken over.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

from avsync.core.errors import SetupError

log = logging.getLogger(__name__)

Group = Literal["avsync.detectors", "avsync.models"]


def names(group: Group) -> tuple[str, ...]:
    """What other packages bring of a kind, sorted; nothing of theirs is imported."""
    from importlib.metadata import entry_points  # which most checks do without

    return tuple(sorted({point.name for point in entry_points(group=group)}))


def find(group: Group, name: str) -> Any | None:
    """What a package brings under that name, None where none does.

    Raises:
        SetupError: the package cannot be imported, or does not hold what its metadata name.
    """
    from importlib.metadata import entry_points

    points = sorted(entry_points(group=group, name=name), key=lambda point: point.value)
    if not points:
        return None
    point = points[0]
    package = point.dist.name if point.dist else point.module
    log.info("%s %s comes from the package %s (%s)", group, name, package, point.value)
    try:
        return point.load()
    except Exception as error:  # whatever another package's import does
        raise SetupError(
            f"{name} comes from the package {package}, which cannot be used "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); fix it, or choose another."
        ) from error
