"""Probe: which streams a file holds, and when each starts.

Every time is in seconds of presentation time as a player shows it (see `Media.origin_s`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame

from avsync.core.constants import FRAME_RATE
from avsync.core.errors import MediaError
from avsync.core.streams import AudioStream, Media, VideoStream
from avsync.core.timecode import WRITTEN, label, timebase
from avsync.media import joints
from avsync.media.clock import LEAP_S
from avsync.media.container import demux, opened
from avsync.media.editlist import followed
from avsync.media.edits import hidden_s, late_s
from avsync.media.parts import later, together
from avsync.media.scan import scanned

MIN_SIDE = 16
"""Pixels; a smaller video holds no face."""
PROBE_PACKETS = 5000
"""Packets read at most to find the first frame and audio of every stream."""
MAX_FPS = Fraction(240)
"""A higher stored average is a time base, not a frame rate (browsers record such WebM files)."""
TAIL_S = 60.0
"""Seconds of audio after the last frame up to which they are treated as part of the video."""
STILLS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0")
"""How still images begin."""
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"CompositionPlaylist", b"v=0", b"<asx", b"RTSPtext")
"""What is near the beginning of files that name other files: HLS, concat, DASH, IMF, SDP, ASX, RTSP."""


def probe(path: Path | str) -> Media:
    """What a file holds and when each stream starts.

    Raises:
        MediaError: the file is missing, not media, incomplete, a still image, or too small for a face.
    """
    path = Path(path)
    require_file(path)
    try:
        media = _probed(path)
        places = _joints(media)
        media = _joined(media, places) if places else followed(media)
    except (FFmpegError, OSError, ValueError) as error:
        raise MediaError(_why_unreadable(path, error)) from error
    if media.video is None and not media.audio:
        raise MediaError(f"{path} holds neither video nor audio; give another file.")
    if media.video is not None and min(media.video.width, media.video.height) < MIN_SIDE:
        size = f"{media.video.width}x{media.video.height}"
        raise MediaError(
            f"The video of {path} is only {size} pixels, too small to show a face; give a larger video."
        )
    return media


def _probed(path: Path, window: tuple[int, int] | None = None) -> Media:
    """What a file holds, or the bytes [first, past) of it. Raises FFmpegError, OSError or ValueError."""
    with opened(path, window) as container:
        media = _describe(path, container, window)
    return scanned(media)


def _joints(media: Media) -> list[int]:
    """The file positions at which another recording may begin, of which there is more than its packets."""
    if media.container == "mpegts":
        return joints.in_transport_stream(media.path)
    if media.container == "mpeg" and len(media.pieces) > 1:
        return joints.in_program_stream(media.path)
    return joints.at_headers(media.path, media.container)


def _joined(whole: Media, places: list[int]) -> Media:
    """The recordings that begin at the first byte and at `places`, one after the other. `whole`: the file as
    its beginning describes it. An MPEG stream goes on into a recording with the same streams; those of other
    formats have headers, hidden samples and a clock of their own."""
    edges = [0, *places, whole.path.stat().st_size]
    windows: list[tuple[int, int]] = []
    before: Any = None
    for window in pairwise(edges):
        streams = _main_streams(whole.path, window)
        same = streams == before and whole.container in joints.MPEG
        if windows and (same or not streams):
            windows[-1] = windows[-1][0], window[1]
        else:
            windows.append(window)
            before = streams
    if len(windows) < 2:
        return whole
    parts: list[Media] = []
    end_s = 0.0
    for window in windows:
        part = _probed(whole.path, window)
        if part.pieces:
            parts.append(later(part, end_s))
            end_s = parts[-1].pieces[-1].end_s
    return together(whole, parts)


def _main_streams(path: Path, window: tuple[int, int]) -> tuple[Any, ...]:
    """Number and codec of the first video and the first audio; empty where there is neither."""
    try:
        with opened(path, window) as container:
            first = [s for kind in (container.streams.video, container.streams.audio) for s in kind[:1]]
            return tuple((s.id, s.type, s.codec_context and s.codec_context.name) for s in first)
    except FFmpegError:
        return ()


def without_tail(media: Media) -> Media:
    """The media cut to the length of its video, where the file lasts over a minute longer."""
    video = media.video
    if video is None or video.duration_s is None:
        return media
    end_s = video.start_s + video.duration_s
    return replace(media, duration_s=end_s) if media.duration_s - end_s > TAIL_S else media


def require_file(path: Path) -> None:
    """Raises MediaError unless there is a file with something in it at `path`."""
    try:
        elsewhere = re.fullmatch(r"-|\w{2,}:/.*", str(path)) and not path.exists()
        if elsewhere or path == Path("/dev/stdin"):
            raise MediaError(f"{path} is not a file; avsync reads only files, so save it as one first.")
        if path.is_symlink() and not path.exists():
            raise MediaError(f"{path} is a link that leads to no file; give the file itself.")
        if not path.exists():
            raise MediaError(f"{path} does not exist; check the name.")
        if path.is_dir():
            raise MediaError(f"{path} is a directory; give a video file.")
        if not path.is_file():
            raise MediaError(f"{path} is not a regular file; save it as a file first.")
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes); copy or record it again.")
    except (OSError, ValueError) as error:
        raise MediaError(f"{path} cannot be opened ({error}); check its name and permissions.") from error


def state(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of the last change in ns, by which two states of a file differ; None where it
    cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{path} may not be read; change its permissions."
    with path.open("rb") as file:
        head = file.read(1024)
    box = head[4:8]
    if head.startswith(STILLS):
        return f"{path} is a still image, with nothing to see move or hear; give a video."
    if any(mark in head for mark in PLAYLISTS):
        other = ", or --allow-playlists" if b"#EXTM3U" in head else ""
        return f"{path} is a list of other files or addresses, not a video; give the video itself{other}."
    if box in (b"ftyp", b"mdat", b"wide", b"free"):
        return f"{path} is incomplete: its index (moov) is missing or broken; copy or record it again."
    return f"{path} is not a video or audio file; check that it is the right file."


def _describe(path: Path, container: InputContainer, window: tuple[int, int] | None) -> Media:
    kind = container.format.name
    video_streams = [
        s for s in container.streams.video if s.codec_context and not s.disposition & Disposition.attached_pic
    ]
    video_streams.sort(key=lambda s: not s.disposition & Disposition.default)
    video = video_streams[0] if video_streams else None
    every_audio = [s for s in container.streams.audio if s.codec_context]
    audio_streams = _of_its_program(container, every_audio, video)
    several = len(audio_streams) < len(every_audio)
    origin = _origin_s(container, [video, *audio_streams] if several else None)
    first = _first_frames(path, container, video_streams[:1] + audio_streams)
    end = _end_s(container, [video, *audio_streams] if several else None) - origin
    return Media(
        path=path,
        container=kind,
        duration_s=max(0.0, end),
        video=_video_stream(
            path, window, kind, video, first, origin, _timecode(path, window, container, video)
        )
        if video
        else None,
        audio=tuple(_audio_stream(s, track, first, origin) for track, s in enumerate(audio_streams)),
        stream_kinds=tuple(_kind(s) for s in container.streams),
        origin_s=origin,
        window=window,
    )


def _origin_s(container: InputContainer, program: list[Any] | None) -> float:
    """The container's own timestamp that counts as 0; of one `program` of several, which has a clock of its
    own. MPEG-TS and MPEG-PS count from any number; players take their first moment as 0."""
    if not container.format.flags & Flags.ts_discont.value:
        return 0.0
    starts = [float(stream.start_time * stream.time_base) for stream in program or () if stream.start_time]
    return min(starts, default=(container.start_time or 0) / av.time_base)


def _end_s(container: InputContainer, program: list[Any] | None) -> float:
    """When the container ends by its own clock, or one `program` of several; 0 if it does not say."""
    ends = [
        float((s.start_time + s.duration) * s.time_base)
        for s in program or ()
        if s.duration and s.start_time is not None
    ]
    whole = ((container.start_time or 0) + container.duration) / av.time_base if container.duration else 0.0
    return max(ends, default=whole)


def _of_its_program(container: InputContainer, audio_streams: list[Any], video: Any) -> list[Any]:
    """The audio streams of the video's program; all, where the file has no programs or none of them is."""

    def best(stream: Any) -> int | None:
        found = container.streams.best("audio", related=stream)
        return found.index if found else None

    wanted = best(video) if video else None
    return [s for s in audio_streams if wanted is None or best(s) == wanted]


def _kind(stream: Stream) -> str:
    return "attachment" if stream.disposition & Disposition.attached_pic else stream.type


def _first_frames(path: Path, container: InputContainer, streams: list[Any]) -> dict[int, Any]:
    """First decoded frame by stream number, where one comes soon enough. Its time is what a player presents:
    edit lists applied, codec priming and frames before the first key frame left out. Of two frames of which
    the second has the earlier time, the first has a wrong one. Raises MediaError when `path` is encrypted."""
    first: dict[int, Any] = {}
    sure = set[int]()
    for count, packet in enumerate(demux(container, streams) if streams else ()):
        if count > PROBE_PACKETS or len(sure) == len(streams):
            break
        if packet.has_sidedata("encryption_info"):
            raise MediaError(
                f"{path} is encrypted, as films that are sold are; give a copy without protection."
            )
        index = packet.stream.index
        if index in sure:
            continue
        try:
            frames = packet.decode()
        except FFmpegError:
            continue
        for frame in frames[:2]:
            if index in first:
                sure.add(index)
            if index not in first or _leaps(first[index], frame):
                first[index] = frame
    return first


def _leaps(frame: Any, after: Any) -> bool:
    """Whether a frame has a later time than the one that is shown after it."""
    return None not in (frame.time, after.time) and frame.time - after.time >= LEAP_S


def _start_s(stream: Any, first: dict[int, Any], origin: float) -> float:
    frame = first.get(stream.index)
    if frame is not None and (stamp := frame.dts if frame.pts is None else frame.pts) is not None:
        return float(stamp * frame.time_base) - origin
    return float((stream.start_time or 0) * stream.time_base) - origin


def _duration_s(stream: Any) -> float | None:
    return float(stream.duration * stream.time_base) if stream.duration else None


def _timecode(
    path: Path, window: tuple[int, int] | None, container: InputContainer, video: Any
) -> str | None:
    """The time code of the first frame that is shown, as a file stores it: with its video, its container, or
    a track of its own, which may be cut together with the video."""
    every = (video.metadata, container.metadata, *(stream.metadata for stream in container.streams))
    code = next((tags[key] for tags in every for key in tags if key.lower() == "timecode"), None)
    track = next((s.index for s in container.streams if s.type == "data" and "timecode" in s.metadata), None)
    if code is None or track is None or not WRITTEN.fullmatch(code):
        return code
    base = timebase(video.average_rate or Fraction(FRAME_RATE), start=code)
    return label(base, round(hidden_s(path, window, track) * base.rate))


def _video_stream(
    path: Path,
    window: tuple[int, int] | None,
    container_name: str,
    stream: Any,
    first: dict[int, Any],
    origin: float,
    timecode: str | None,
) -> VideoStream:
    frame: VideoFrame | None = first.get(stream.index)
    rotation = frame.rotation if frame else 0
    width, height = (frame.width, frame.height) if frame else (stream.width, stream.height)
    if not width or not height:
        raise MediaError(f"The video of {path} cannot be decoded; copy or convert it again.")
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if Fraction(1, 5) < aspect < 5:
        width = max(1, round(width * aspect))
    if abs(rotation) % 180 == 90:
        width, height = height, width
    fps = stream.average_rate
    late = late_s(path, window, stream.index) if "mov" in container_name else 0.0
    return VideoStream(
        index=stream.index,
        codec=stream.codec_context.name,
        width=width,
        height=height,
        fps=fps if fps and fps <= MAX_FPS else _measured_fps(path, window, stream.index),
        start_s=_start_s(stream, first, origin) + late,
        duration_s=_duration_s(stream),
        rotation_deg=rotation,
        interlaced=bool(frame and frame.interlaced_frame),
        late_s=late,
        timecode=timecode,
    )


def _audio_stream(stream: Any, track: int, first: dict[int, Any], origin: float) -> AudioStream:
    return AudioStream(
        index=stream.index,
        track=track,
        codec=stream.codec_context.name,
        rate_hz=stream.codec_context.sample_rate,
        channels=stream.codec_context.channels,
        start_s=_start_s(stream, first, origin),
        duration_s=_duration_s(stream),
        language=stream.metadata.get("language"),
        title=stream.metadata.get("title"),
        default=bool(stream.disposition & Disposition.default),
    )


def _measured_fps(path: Path, window: tuple[int, int] | None, index: int) -> Fraction:
    """Average rate over the first 250 frames, for files that do not state it; 25 where it is not known."""
    with opened(path, window) as container:
        stream = container.streams[index]
        times = [
            p.pts for _, p in zip(range(250), demux(container, stream), strict=False) if p.pts is not None
        ]
        span = (max(times) - min(times)) * (stream.time_base or 0) if times else 0
    return Fraction((len(times) - 1) / span).limit_denominator(1001) if span else Fraction(FRAME_RATE)
