"""What `avsync curate` kept and dropped, in words."""

from __future__ import annotations

from collections.abc import Mapping

WHY = {
    "error": "in files that cannot be read",
    "not-judged": "where nothing was judged",
    "mismatch": "that the lips do not match",
    "drift": "in videos that drift",
    "nobody-visible": "that no visible face says",
    "not-sure": "whose offset or speaker is uncertain",
    "too-short": "in stretches that are too short",
    "too-small": "of faces that are too small",
    "little-speech": "with too little speech in the stretch",
}
"""By the codes of `curate.select.Why`."""


def curation_words(kept: int, kept_s: float, videos: int, dropped_s: Mapping[str, float]) -> str:
    """A few lines: how much was kept from how many videos, and how much was dropped for each reason."""
    lines = [f"Kept {kept} stretches, {kept_s / 60:.1f} minutes, of {videos} videos."]
    if dropped_s:
        lines.append("Dropped:")
        lines += [f"{seconds / 60:8.1f} min  {WHY[why]} ({why})" for why, seconds in dropped_s.items()]
    return "\n".join(lines) + "\n"
