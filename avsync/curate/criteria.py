"""Which stretches of video `avsync curate` keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Criteria:
    """Requirements for a stretch to be kept. Lengths in seconds, faces in pixels of the stored video."""

    min_length_s: float = 1.0
    max_length_s: float = 20.0
    """Longer stretches are cut into equal parts."""
    min_probability: float = 0.75
    """Of the offset being right within 40 ms, and of the face being the speaker."""
    min_face_px: float = 48.0
    """Median height of the face."""
    min_speech: float = 0.5
    """Share of the stretch that is speech."""
