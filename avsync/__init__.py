"""avsync tells whether the lips in a video match its speech, by how many milliseconds they are apart,
and repairs it.

    import avsync
    report = avsync.check("talk.mp4")
    print(report.verdict, report.offset_ms)      # positive: the audio is early
    avsync.save_page(report, "talk.html")        # charts, faces, what was not judged
    avsync.fix_offset("talk.mp4", "fixed.mp4")

Importing the package is cheap: OpenCV, the model and what runs it come with the first call.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avsync.api import check, check_many, fix_offset
    from avsync.core.errors import (
        AvsyncError,
        CannotTell,
        Interrupted,
        MediaError,
        ModelError,
        OptionError,
        OutputError,
        SetupError,
        UsageError,
    )
    from avsync.core.options import Limits
    from avsync.core.report import Report
    from avsync.core.streams import Recording
    from avsync.networks.checkpoint import load as load_model
    from avsync.pipeline.stages import embed, face_tracks, moments, mouth_crops, score_matrix
    from avsync.report.html import save_page
    from avsync.report.markers import save_markers

__version__ = "0.1.0"
__all__ = [
    "AvsyncError",
    "CannotTell",
    "Interrupted",
    "Limits",
    "MediaError",
    "ModelError",
    "OptionError",
    "OutputError",
    "Recording",
    "Report",
    "SetupError",
    "UsageError",
    "__version__",
    "check",
    "check_many",
    "embed",
    "face_tracks",
    "fix_offset",
    "load_model",
    "moments",
    "mouth_crops",
    "save_markers",
    "save_page",
    "score_matrix",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "check": ("avsync.api", "check"),
    "check_many": ("avsync.api", "check_many"),
    "embed": ("avsync.pipeline.stages", "embed"),
    "face_tracks": ("avsync.pipeline.stages", "face_tracks"),
    "moments": ("avsync.pipeline.stages", "moments"),
    "mouth_crops": ("avsync.pipeline.stages", "mouth_crops"),
    "score_matrix": ("avsync.pipeline.stages", "score_matrix"),
    "Limits": ("avsync.core.options", "Limits"),
    "fix_offset": ("avsync.api", "fix_offset"),
    "load_model": ("avsync.networks.checkpoint", "load"),
    "save_markers": ("avsync.report.markers", "save_markers"),
    "save_page": ("avsync.report.html", "save_page"),
    "Recording": ("avsync.core.streams", "Recording"),
    "Report": ("avsync.core.report", "Report"),
    "AvsyncError": ("avsync.core.errors", "AvsyncError"),
    "CannotTell": ("avsync.core.errors", "CannotTell"),
    "Interrupted": ("avsync.core.errors", "Interrupted"),
    "MediaError": ("avsync.core.errors", "MediaError"),
    "ModelError": ("avsync.core.errors", "ModelError"),
    "OptionError": ("avsync.core.errors", "OptionError"),
    "OutputError": ("avsync.core.errors", "OutputError"),
    "SetupError": ("avsync.core.errors", "SetupError"),
    "UsageError": ("avsync.core.errors", "UsageError"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
