"""The video with faces, speaker, offset and scores drawn on it, to show what the verdict rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from avsync.audio import full, waveform
from avsync.core.constants import FRAME_RATE
from avsync.core.draft import scratch
from avsync.core.errors import MediaError
from avsync.core.files import Kind, replacement
from avsync.core.report import Report, ScoreMap, TrackReport
from avsync.core.streams import Media
from avsync.core.timecode import timecode_at
from avsync.core.tolerance import own_offset, within
from avsync.media.container import source
from avsync.media.ffmpeg import run_ffmpeg
from avsync.media.frames import frame_size, frames
from avsync.media.images import Image, cv2, resize
from avsync.media.probe import probe
from avsync.report.html_charts import MAP_HIGH, MAP_LOW
from avsync.report.reasons import cause_words
from avsync.report.words import clock_time, offset_words

Progress = Callable[[str, float, float | None], None]
"""progress(stage, done, total)."""

LONG_SIDE = 960
AAC_CHANNELS = 8
"""As many as AAC has."""
KBITS_A_CHANNEL = 96
STRIP = 64
"""Pixels of the score strip below the frame."""
LINE = 26
"""Height of the line of text above it, in pixels."""
MARK = "avsync overlay"
MARK_ID = "4d0ef6d8-6f7c-4c3e-9a6c-0a5c1a2f9b11"
"""Marks a file as an overlay: a message in the first frame of its video."""
OVERLAY = Kind("overlay", lambda head: MARK.encode() in head)

Colour = tuple[int, int, int]
GOOD: Colour = (60, 200, 120)
BAD: Colour = (235, 70, 60)
QUIET: Colour = (170, 178, 186)
WHITE: Colour = (255, 255, 255)
DARK: Colour = (18, 21, 24)


def save_overlay(report: Report, path: str | Path, progress: Progress | None = None) -> Path:
    """Write an MP4 of the video (25 frames a second, at most LONG_SIDE pixels) with the box of each face, who
    speaks, the offset of the moment, and the scores with a line at the moment. Its audio is the judged track
    with all its channels, as AAC. `progress` is called as progress("overlay", done, total).

    Raises:
        MediaError: the file cannot be read any more.
        SetupError: there is no ffmpeg.
        OutputError: it cannot be written.
    """
    path = Path(path)
    media = probe(report.path)
    if media.video is None:
        raise MediaError(f"{report.path} has no video, only audio; give a video file.")
    width, height = frame_size(media.video, LONG_SIDE)
    height += LINE + STRIP
    with scratch() as (file, raw), replacement(path.resolve()) as made:
        heard, encoded = _audio(report, media, file, raw)
        run_ffmpeg(
            [
                *("-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
                *("-r", str(FRAME_RATE), "-i", "pipe:0", *heard, "-map", "0:v", "-map", "1:a"),
                *("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", *encoded),
                *(
                    "-bsf:v",
                    f"h264_metadata=sei_user_data='{MARK_ID}+{MARK}'",
                    "-f",
                    "mp4",
                    source(made.path),
                ),
            ],
            f"write the overlay {path}",
            made,
            feed=_told(annotated_frames(report, media), media, progress),
        )
        made.publish(replace=True)
    return path


def _told(drawn: Iterable[Image], media: Media, progress: Progress | None) -> Iterator[bytes]:
    """The frames as bytes; tells how far they are."""
    whole = max(1, round(media.duration_s * FRAME_RATE))
    for number, image in enumerate(drawn, 1):
        if progress is not None:
            progress("overlay", min(number, whole - 1), whole)
        yield np.ascontiguousarray(image).tobytes()
    if progress is not None:
        progress("overlay", whole, whole)


def _audio(report: Report, media: Media, file: IO[bytes], raw: Path) -> tuple[list[str], list[str]]:
    """Arguments that read and that write the judged audio, which is put into `file`, by the path `raw`; from
    the first frame of the video to its end."""
    separate = report.settings.get("audio")
    holder = probe(separate) if separate else media
    stream = waveform.audio_track(holder, None if separate else report.audio_track)
    full.decoded(holder, stream, file)
    # Audio that has a file for itself begins with it, whatever its timestamps say.
    start_s = stream.start_s if holder.video else 0.0
    assert media.video is not None  # noqa: S101 - save_overlay looks
    ahead = round((start_s - media.video.start_s) * stream.rate_hz)
    placed = f"adelay={ahead}S:all=1" if ahead > 0 else f"atrim=start_sample={-ahead},asetpts=N/SR/TB"
    length_s = media.duration_s - media.video.start_s
    read = ["-f", "f32le", "-ar", str(stream.rate_hz), "-ch_layout", full.layout(holder, stream)]
    channels = min(stream.channels, AAC_CHANNELS)
    written = ["-af", f"{placed},apad", "-t", f"{length_s:.6f}", "-c:a", "aac", "-ac", str(channels)]
    return [*read, "-i", source(raw)], [*written, "-b:a", f"{channels * KBITS_A_CHANNEL}k"]


def annotated_frames(report: Report, media: Media) -> Iterator[Image]:
    """The frames with what was found drawn on them, uint8 (height + LINE + STRIP, width, 3) RGB."""
    strip: Image | None = None
    for frame in frames(media, long_side=LONG_SIDE):
        height, width = frame.image.shape[:2]
        if strip is None:
            strip = score_strip(report.score_map, report.duration_s or media.duration_s, width)
        canvas = np.empty((height + LINE + STRIP, width, 3), np.uint8)
        canvas[:height] = frame.image
        canvas[height : height + LINE] = DARK
        canvas[height + LINE :] = strip
        words, colour = moment_words(report, frame.time_s)
        _draw_faces(canvas, report, frame.time_s, (width, height), colour)
        _write(canvas, words, 6, height + LINE - 8, colour, width)
        _draw_playhead(canvas, frame.time_s / max(1e-9, report.duration_s or media.duration_s), height + LINE)
        yield canvas


def moment_words(report: Report, time_s: float) -> tuple[str, Colour]:
    """The time, its time code, and the offset of the stretch around it or why there is none."""
    when = clock_time(time_s)
    if report.timebase is not None:
        when = f"{when}  {timecode_at(report.timebase, time_s)}"
    for fault in report.faults:
        if fault.kind == "mismatch" and fault.start_s <= time_s < fault.end_s:
            return f"{when}  the lips do not match the speech", BAD
    for part in report.segments:
        if part.start_s <= time_s < part.end_s and part.offset_ms is not None:
            inside = within(own_offset(part), report.tolerance_ms)
            return f"{when}  audio {offset_words(own_offset(part))}", GOOD if inside else BAD
    for gap in report.unjudged:
        if gap.start_s <= time_s < gap.end_s:
            return f"{when}  not judged: {cause_words(gap)}", QUIET
    return when, QUIET


def speaker_at(report: Report, time_s: float) -> int | None:
    """The number of the face that speaks at a time; None if no visible face does."""
    return next((turn.track for turn in report.turns if turn.start_s <= time_s < turn.end_s), None)


def face_at(track: TrackReport, time_s: float) -> npt.NDArray[np.float32] | None:
    """x1, y1, x2, y2 of a face as fractions of the frame; None if it is not visible. A report read from a
    document has only one box a second; the boxes between are interpolated."""
    if not track.start_s - 0.5 / FRAME_RATE <= time_s < track.end_s:
        return None
    if track.outline is not None and len(track.outline):
        index = round((time_s - track.start_s) * FRAME_RATE)
        return track.outline[min(max(0, index), len(track.outline) - 1)]
    if not track.boxes:
        return None
    table = np.asarray(track.boxes)
    return np.array([np.interp(time_s, table[:, 0], table[:, edge]) for edge in range(1, 5)], np.float32)


def score_strip(scores: ScoreMap | None, duration_s: float, width: int) -> Image:
    """The score map as an image (STRIP, width, 3) that spans the whole video, early on top; grey where there
    are no scores."""
    strip = np.full((STRIP, width, 3), 60, np.uint8)
    if scores is None or not len(scores.values):
        return strip
    share = np.clip((scores.values.T - MAP_LOW) / (MAP_HIGH - MAP_LOW), 0, 1)
    grey = np.where(np.isfinite(share), 255 * np.nan_to_num(share), 60).astype(np.uint8)
    coloured = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB)
    first = round(width * scores.start_s / max(1e-9, duration_s))
    past = round(width * (scores.start_s + scores.step_s * len(scores.values)) / max(1e-9, duration_s))
    first, past = min(first, width - 1), min(max(past, first + 1), width)
    strip[:, first:past] = resize(np.ascontiguousarray(coloured, np.uint8), past - first, STRIP)
    return strip


def _draw_faces(canvas: Image, report: Report, time_s: float, size: tuple[int, int], now: Colour) -> None:
    """Draw boxes and names of the faces at a moment; `now` is the colour of its offset."""
    width, height = size
    speaker = speaker_at(report, time_s)
    for track in report.tracks:
        box = face_at(track, time_s)
        if box is None:
            continue
        speaks = track.track == speaker
        colour, words = _face_words(track, report, time_s, now if speaks else WHITE, speaks)
        left, top, right, bottom = (round(float(v)) for v in box * (width, height, width, height))
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, 4 if speaks else 1, cv2.LINE_AA)
        _write(canvas, words, max(2, left), max(16, top - 6), colour, width)


def _face_words(
    track: TrackReport, report: Report, time_s: float, otherwise: Colour, speaks: bool
) -> tuple[Colour, str]:
    """Colour and name of a face, with its own offset if that was measured; `otherwise` is the colour if
    not."""
    name = f"face {track.track}{' speaks' if speaks else ''}"
    if track.cause is not None:
        return QUIET, f"{name}, not judged"
    here = [p for p in track.segments if p.start_s <= time_s < p.end_s and p.own_offset_ms is not None]
    if not here:
        return otherwise, name
    offset_ms = own_offset(here[0])
    return (GOOD if within(offset_ms, report.tolerance_ms) else BAD), f"{name}: {offset_words(offset_ms)}"


def _write(canvas: Image, words: str, x: int, y: int, colour: Colour, width: int) -> None:
    """Write text on a dark ground, readable on any frame; smaller if it would not fit."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    (length, tall), below = cv2.getTextSize(words, font, scale, 1)
    scale *= min(1.0, (width - 8) / max(1, length))
    length = round(length * scale / 0.5)
    x = max(2, min(x, width - 4 - length))
    cv2.rectangle(canvas, (x - 2, y - tall - 2), (x + length + 2, y + below), DARK, cv2.FILLED)
    cv2.putText(canvas, words, (x, y), font, scale, colour, 1, cv2.LINE_AA)


def _draw_playhead(canvas: Image, share: float, top: int) -> None:
    x = round(min(1.0, max(0.0, share)) * (canvas.shape[1] - 1))
    cv2.line(canvas, (x, top), (x, canvas.shape[0] - 1), DARK, 3)
    cv2.line(canvas, (x, top), (x, canvas.shape[0] - 1), WHITE, 1)
