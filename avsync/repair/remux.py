"""Plan how to move audio against video by stream copy: the ffmpeg command for every container.

Packets are not touched; only their times in the container change. (A re-timed track is raw audio that ffmpeg
encodes; everything else is copied.)
"""

from __future__ import annotations

import math
import mmap
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avsync.core.errors import MediaError, UsageError
from avsync.core.streams import Media
from avsync.media import joints
from avsync.media.container import UNORDERED, demux, opened, source
from avsync.media.edits import hidden_s
from avsync.media.ffmpeg import ffmpeg_path
from avsync.repair import editlists, filters, labels, packets, reordered, stamps
from avsync.repair.codecs import Encoding
from avsync.repair.containers import MOV_MUXERS, muxer_of, muxer_options, own_muxer, writable
from avsync.repair.editlists import ListShift
from avsync.repair.packets import Contents, Stream
from avsync.repair.stamps import Shift
from avsync.report.repaired import bytes_words, streams_words

NO_START_TIMES = {"avi": "AVI", "mxf": "MXF", "mxf_opatom": "MXF"}
"""Containers, by muxer, whose tracks all start together."""
MPEG_MUXERS = ("mpegts", "vob", "mpeg")
COARSE_TICK_S = 0.002
"""A stream with a longer time unit (AVI counts whole frames) cannot be shifted by single milliseconds."""

COPY = ("-map", "0", "-map_metadata", "0", "-c", "copy", "-copy_unknown", "-strict", "experimental")
"""ffmpeg's arguments that copy an input as it is."""

RAW_TAGS = ("language", "title", "handler_name", "comment")
"""Tags that a re-encoded track keeps; others would be wrong for the new encoding."""


@dataclass(frozen=True)
class Retimed:
    """A track to re-encode: its stream's number and a file of raw float32 samples, which start at `start_s`
    on the container's own clock and last `length_s`."""

    stream: int
    path: Path
    rate_hz: int
    channels: int
    layout: str
    start_s: float
    length_s: float
    encoding: Encoding


@dataclass(frozen=True)
class Plan:
    """How to write `dst`: ffmpeg's arguments (without the program and the overwrite flag), the numbers of the
    streams that are `moved` and `left_out`, the audio track to move (None: all), and the track to
    re-encode; or how to shift the times in an MPEG stream or the edit lists of an MP4 or MOV."""

    src: Path
    dst: Path
    offset_ms: float
    arguments: tuple[str, ...]
    moved: tuple[int, ...]
    left_out: tuple[int, ...]
    audio_track: int | None
    retimed: Retimed | None = None
    shifts: tuple[Shift, ...] = ()
    listed: ListShift | None = None
    reordered: tuple[int, int] | None = None
    """The video's number in the source and in the target, where it gets times of presentation afterwards,
    in Matroska."""
    finish: tuple[str, ...] = ()
    """ffmpeg's arguments, after its input, that make a target of another format out of that."""

    @property
    def in_place(self) -> bool:
        """Whether only times change in a copy of the file, which takes no ffmpeg."""
        return bool(self.shifts) or self.listed is not None


def command(plan: Plan, overwrite: bool = False) -> str:
    """The command of a plan, quoted for a POSIX shell: ffmpeg's, or avsync's where only that can do it."""
    if plan.in_place or plan.reordered:
        track = [] if plan.audio_track is None else ["--audio-track", str(plan.audio_track)]
        force = ["--force"] if overwrite else []
        by = ["--offset-ms", f"{plan.offset_ms:g}"]
        files = (str(path.absolute()) for path in (plan.src, plan.dst))
        return shlex.join(["avsync", "fix-offset", *files, *by, *track, *force])
    quiet = ("-hide_banner", "-nostdin", "-loglevel", "error")
    return shlex.join([ffmpeg_path(), "-y" if overwrite else "-n", *quiet, *plan.arguments])


# --- Plan --------------------------------------------------------------------------------


def plan(
    media: Media,
    offset_ms: float,
    dst: Path,
    audio_track: int | None = None,
    *,
    leave_out: bool = False,
    retimed: Retimed | None = None,
    in_place: bool | None = None,
) -> Plan:
    """The plan that removes a synchrony error of `offset_ms` (positive: the audio is early, so it is
    delayed).

    All audio tracks move, or `audio_track` alone; `retimed` replaces it. With `leave_out`, data streams that
    the target's format cannot hold are left out instead of refused. With `in_place`, a file that
    keeps its format is shifted without ffmpeg, by the times of its packets or its edit lists, if it can be;
    None: if that is better. A file whose clock no muxer takes over is always shifted so.

    Raises:
        UsageError: there is no such track, the offset exceeds the video, or the target cannot hold it all.
        MediaError: the file has no video or no audio, or consists of recordings that were joined.
    """
    moved = _moved_tracks(media, audio_track)
    if not math.isfinite(offset_ms) or abs(offset_ms) >= 1000 * media.duration_s:
        raise UsageError(
            f"An offset of {offset_ms:g} ms exceeds the {media.duration_s:.1f} s of {media.path.name}; "
            "give one that is shorter than the video."
        )
    file = packets.contents(media.path)
    muxer = muxer_of(file, dst)
    kept = muxer in stamps.MUXERS.get(file.container, ())
    by_s = offset_ms / 1000
    chosen = in_place is None and retimed is None and kept and stamps.preferred(media, audio_track, by_s)
    if kept and retimed is None and (in_place or chosen or stamps.needed(media)):
        shifts = stamps.shifts(media, audio_track, by_s)
        return Plan(media.path, dst, offset_ms, (), moved, (), audio_track, shifts=shifts)
    require_one_clock(media, shifted=retimed is None)
    _require_exact_times(media, dst, muxer)
    listable = retimed is None and _has_own_lists(file, muxer)
    if listable and (in_place or (offset_ms < 0 and _is_cut(file))):
        listed = editlists.list_shift(media, moved, by_s)
        return Plan(media.path, dst, offset_ms, (), moved, (), audio_track, listed=listed)
    streams, unwritable = _kept_streams(file, muxer)
    if unwritable and not leave_out:
        raise UsageError(
            f"{dst.suffix} cannot hold {streams_words(unwritable)} of {media.path.name} (data); "
            "use --force to write the video without."
        )
    in_order, finish = None, ()
    if media.video and reordered.needed(media, file):
        in_order = media.video.index, filters.number(streams, media.video.index)
        if muxer not in reordered.MUXERS:
            finish = (*COPY, *muxer_options(file, streams, muxer), "-f", muxer, source(dst))
            muxer = reordered.MUXERS[0]
    return Plan(
        src=media.path,
        dst=dst,
        offset_ms=offset_ms,
        arguments=(
            *_copied(media, file, streams, moved, offset_ms, muxer, retimed, in_order),
            *_new_time_code(media, file, streams, muxer),
            *muxer_options(file, streams, muxer),
            *("-f", muxer, source(dst)),
        ),
        finish=finish,
        moved=moved,
        left_out=unwritable,
        audio_track=audio_track,
        retimed=retimed,
        reordered=in_order,
    )


def _copied(
    media: Media,
    file: Contents,
    streams: Sequence[Stream],
    moved: Sequence[int],
    offset_ms: float,
    muxer: str,
    retimed: Retimed | None,
    in_order: tuple[int, int] | None,
) -> list[str]:
    """The inputs, and what becomes of their streams and times."""
    # A time code track that the muxer makes begins at 0, so the video must stay where it is.
    stays = bool(labels.time_codes(file)) and not any(s.time_code for s in streams)
    may_be_cut = muxer in MOV_MUXERS and (stays or _is_cut(file))
    rest_s, audio_s = _shifts(file, moved, offset_ms, may_be_cut=may_be_cut)
    # Absolute times matter only in MPEG streams, where cue messages refer to them.
    if file.container in joints.MPEG and muxer not in MPEG_MUXERS:
        rest_s, audio_s = rest_s - file.start_s, audio_s - file.start_s
    late_s = media.video.late_s if media.video else 0.0
    if late_s < 0:  # rather than move the video to before 0
        rest_s, audio_s = rest_s - late_s, audio_s - late_s
    fine = retimed is not None or _fine(file, moved)
    return [
        "-copyts",
        *_input(file, rest_s),
        *(_raw_input(retimed) if retimed else _input(file, audio_s if fine else 0)),
        *_mapped(file, streams, moved, muxer, retimed),
        *(_encoded(streams, retimed, audio_s) if retimed else []),
        *([] if fine else filters.shifted(streams, moved, audio_s)),
        *(filters.own_times(streams, media.video.index, late_s) if media.video and late_s else []),
        *([f"-bsf:{in_order[1]}", "setts=pts=DTS"] if in_order else []),
        *filters.counted_times(file, streams, retimed and retimed.stream),
    ]


def _require_exact_times(media: Media, dst: Path, muxer: str) -> None:
    """Raises MediaError or UsageError where a source or target has times that ffmpeg does not keep."""
    if any(stream.edits for stream in (media.video, *media.audio) if stream):
        raise MediaError(
            f"{media.path} has an edit list that ffmpeg does not copy exactly; "
            "export it as a plain video first."
        )
    if muxer in NO_START_TIMES:
        raise UsageError(
            f"{NO_START_TIMES[muxer]} has no start times that players respect, so {dst.name} would not "
            f"stay repaired; choose a target that ends in .mkv, such as {dst.with_suffix('.mkv').name}."
        )


def require_one_clock(media: Media, *, shifted: bool) -> None:
    """Raises MediaError where a file consists of recordings that were joined, which each have a clock.
    `shifted`: it is for a single shift, which another target may allow."""
    edges = joints.cuts(media)
    if not edges:
        return
    same = (
        f", or choose a target that ends in {media.path.suffix}"
        if shifted and media.container in joints.MPEG
        else ""
    )
    raise MediaError(
        f"{media.path} consists of {len(edges) + 1} recordings joined into one, whose clocks ffmpeg cannot "
        f"copy; cut it after {bytes_words(edges)} and repair each part{same}."
    )


def _kept_streams(file: packets.Contents, muxer: str) -> tuple[list[packets.Stream], tuple[int, ...]]:
    """(streams to write, indices of data streams that the format cannot hold)."""
    # Only QuickTime can hold a time code track unchanged; MP4's is made from a tag, at 0. Copied, drop-frame
    # labels would count as others, and a track that is cut would begin with what was cut off.
    drop_frame = any(";" in code for code in labels.time_codes(file))
    copied = muxer == "mov" and not drop_frame and not hidden_codes(file)
    streams = [s for s in file.streams if not s.remade or (s.time_code and copied)]
    unwritable = tuple(
        s.index for s in streams if s.kind == "data" and not s.remade and not writable(file, s, muxer)
    )
    return [s for s in streams if s.index not in unwritable], unwritable


def _moved_tracks(media: Media, audio_track: int | None) -> tuple[int, ...]:
    if media.video is None or not media.audio:
        missing = "video" if media.video is None else "audio track"
        raise MediaError(
            f"{media.path} has no {missing}, so there is nothing to align; give a video that has both."
        )
    if audio_track is None:
        return tuple(a.index for a in media.audio)
    if not 0 <= audio_track < len(media.audio):
        raise UsageError(
            f"{media.path.name} has no audio track {audio_track}; its tracks are 0 to {len(media.audio) - 1}."
        )
    return (media.audio[audio_track].index,)


def _shifts(
    file: Contents, moved: Sequence[int], offset_ms: float, *, may_be_cut: bool = False
) -> tuple[float, float]:
    """(seconds to delay everything else, seconds to delay the moved audio); the difference is the offset.

    Most containers hold no negative times, and players cut off what lies before 0. So instead of moving audio
    to before 0, everything else is delayed, unless the audio `may_be_cut`.
    """
    offset_s = offset_ms / 1000
    starts = [s.start_s for s in file.streams if s.index in moved]
    if offset_s >= 0 or may_be_cut or all(start is not None and start + offset_s >= 0 for start in starts):
        return 0.0, offset_s
    rest = [s for s in file.streams if s.index not in moved and s.kind in ("video", "audio", "subtitle")]
    tick_s = max((s.tick_s for s in rest if s.tick_s > COARSE_TICK_S and not s.cover), default=0.0)
    rest_s = math.ceil(-offset_s / tick_s - 1e-6) * tick_s if tick_s else -offset_s
    return rest_s, rest_s + offset_s


def _has_own_lists(file: Contents, muxer: str) -> bool:
    """Whether a file is an MP4 or MOV whose edit lists can be changed, and stays one."""
    if muxer not in MOV_MUXERS or not file.container.startswith(packets.MOV_FAMILY):
        return False
    return muxer == own_muxer(file) and editlists.possible(file.path)


def _is_cut(file: Contents) -> bool:
    """Whether an edit list hides the first frames. ffmpeg starts such video on a whole frame, so a delay of
    the video would be rounded, whereas audio is cut to the sample."""
    with opened(file.path) as container:
        video_streams = [s for s in container.streams.video if not file.streams[s.index].cover]
        return any(p.is_discard for _, p in zip(range(8), demux(container, video_streams), strict=False))


def _new_time_code(media: Media, file: Contents, streams: Sequence[Stream], muxer: str) -> list[str]:
    """What a time code track that the muxer makes is to say; it takes that from the tags of the video."""
    if not labels.time_codes(file) or any(s.time_code for s in streams):
        return []
    number = next(n for n, s in enumerate(streams) if s.kind == "video" and not s.cover)
    reels = labels.reel_names(file) if muxer == "mov" else set()
    tags = [f"reel_name={reels.pop()}"] if len(reels) == 1 else []
    if hidden_codes(file) and media.video and media.video.timecode:
        tags.append(f"timecode={media.video.timecode}")
    return [word for tag in tags for word in (f"-metadata:s:{number}", tag)]


def hidden_codes(file: Contents) -> set[str]:
    """The time codes of tracks whose beginning an edit list hides: the first frame shown has a later one."""
    tracks = [s for s in file.streams if s.time_code]
    return {s.tags["timecode"] for s in tracks if hidden_s(file.path, None, s.index)}


def _fine(file: Contents, moved: Sequence[int]) -> bool:
    return all(s.tick_s <= COARSE_TICK_S for s in file.streams if s.index in moved)


def _input(file: Contents, shift_s: float) -> list[str]:
    ordered = not any(s.kind == "video" and s.codec in UNORDERED for s in file.streams)
    missing_times = ["-fflags", "+genpts"] if ordered and file.container in ("avi", "mpeg") else []
    shift = ["-itsoffset", f"{shift_s:.6f}".rstrip("0").rstrip(".")] if round(shift_s, 6) else []
    return [*missing_times, *shift, *packets.as_input(file)]


def _raw_input(retimed: Retimed) -> list[str]:
    # Every ffmpeg understands the older channel option, but that gives no layout.
    stereo = retimed.channels <= 2
    channels = ["-ac", str(retimed.channels)] if stereo else ["-ch_layout", retimed.layout]
    return ["-f", "f32le", "-ar", str(retimed.rate_hz), *channels, "-i", source(retimed.path)]


def _mapped(
    file: Contents, streams: Sequence[Stream], moved: Sequence[int], muxer: str, retimed: Retimed | None
) -> list[str]:
    """Every stream in order, the moved ones from the second input, with their dispositions."""
    attached = [s for s in streams if s.cover and muxer == "matroska"]
    mapped = [s for s in streams if s not in attached]
    arguments = []
    for s in mapped:
        arguments += ["-map", "1:0" if retimed and s.index in moved else f"{int(s.index in moved)}:{s.index}"]
    arguments += ["-map_metadata", "0", "-map_chapters", "0", "-c", "copy", "-copy_unknown"]
    arguments += ["-strict", "experimental"]
    for number, stream in enumerate(mapped):
        # By default, ffmpeg marks the first stream of a kind as the default.
        if stream.kind != "attachment":
            arguments += [f"-disposition:{number}", "+".join(stream.dispositions) or "0"]
        # The mov demuxer reads a track's title as its name, but the muxers write only titles.
        if "name" in stream.tags and "title" not in stream.tags:
            arguments += [f"-metadata:s:{number}", f"title={stream.tags['name']}"]
    for number, stream in enumerate(attached, len(mapped)):
        arguments += _attached(file, stream, number)
    return arguments


def _encoded(streams: Sequence[Stream], retimed: Retimed, shift_s: float) -> list[str]:
    """Encode the re-timed track with its tags, delayed by a filter, since raw audio input ignores
    -itsoffset."""
    number, stream = next((n, s) for n, s in enumerate(streams) if s.index == retimed.stream)
    rate = ["-b:" + str(number), f"{retimed.encoding.kbps}k"] if retimed.encoding.kbps else []
    later = [f"-filter:{number}", f"asetpts=PTS+{retimed.start_s + shift_s:.6f}/TB"]
    tags = {key: value for key, value in stream.tags.items() if key in RAW_TAGS}
    named = [word for key, value in tags.items() for word in (f"-metadata:s:{number}", f"{key}={value}")]
    return [f"-c:{number}", retimed.encoding.encoder, *rate, *later, *named]


def _attached(file: Contents, cover: Stream, number: int) -> list[str]:
    """Attach cover art as a file with its bytes; a mapped one would become a video stream in Matroska."""
    with opened(file.path) as container:
        cover_bytes = next(bytes(p) for p in demux(container, container.streams[cover.index]) if p.size)
    with file.path.open("rb") as stored, mmap.mmap(stored.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(cover_bytes)
    if start < 0:
        raise MediaError(
            f"The cover image of {file.path.name} cannot be copied; remove it from the file first."
        )
    kind = {"mjpeg": "jpeg"}.get(cover.codec, cover.codec)
    tags = {"filename": f"cover.{kind.replace('jpeg', 'jpg')}", "mimetype": f"image/{kind}"} | dict(
        cover.tags
    )
    return [
        *("-attach", f"subfile,,start,{start},end,{start + len(cover_bytes)},,:{file.path.absolute()}"),
        *(word for key, value in tags.items() for word in (f"-metadata:s:{number}", f"{key}={value}")),
    ]
