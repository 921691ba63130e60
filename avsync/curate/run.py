"""Select the stretches of a checked video to keep and, on request, cut them into clips."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from avsync.audio.waveform import waveform
from avsync.core.errors import MediaError
from avsync.core.files import make_folder
from avsync.core.report import Report
from avsync.core.streams import Media
from avsync.curate.criteria import Criteria
from avsync.curate.cut import cut
from avsync.curate.lists import clip_path
from avsync.curate.select import Dropped, Selection, Stretch, select
from avsync.media.probe import probe

log = logging.getLogger(__name__)


def curate(report: Report, criteria: Criteria, clips: Path | None = None) -> Selection:
    """The selection from one checked video.

    With `clips`, its stretches are cut into that folder, unless they are there already. A video or stretch
    that cannot be read is dropped with the reason "error". Raises OutputError if a clip cannot be written.
    """
    if report.verdict == "error":
        return select(report, 0, criteria)
    try:
        media = probe(Path(report.path))
        found = select(report, media.video.height if media.video else 0, criteria)
        if clips is None or not found.kept:
            return found
        lost = _cut_all(media, report, found.kept, clips)
    except MediaError as error:
        log.warning("%s: %s", report.path, error)
        return Selection(dropped=(Dropped(0.0, report.duration_s or 0.0, "error"),))
    dropped = sorted((*found.dropped, *(Dropped(s.start_s, s.end_s, "error") for s in lost)), key=_start)
    return replace(found, kept=tuple(s for s in found.kept if s not in lost), dropped=tuple(dropped))


def _cut_all(media: Media, report: Report, kept: Sequence[Stretch], clips: Path) -> list[Stretch]:
    """Cut the clips that are missing; returns the stretches that cannot be decoded."""
    video = Path(report.path)
    todo = [stretch for stretch in kept if not clip_path(clips, video, stretch).exists()]
    if not todo:
        return []
    audio = waveform(media, report.audio_track)
    lost = []
    for stretch in todo:
        target = clip_path(clips, video, stretch)
        make_folder(target.parent)
        try:
            cut(media, audio, stretch, target)
        except MediaError as error:
            log.warning("%s from %.1f s: %s", report.path, stretch.start_s, error)
            lost.append(stretch)
    return lost


def _start(part: Dropped) -> float:
    return part.start_s
