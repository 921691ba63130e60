"""Containers as ffmpeg's muxers write them: which one a target will be, what it can hold, and the options
that preserve what the source has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from avsync.core.errors import UsageError
from avsync.media.ffmpeg import FfmpegError, run_ffmpeg
from avsync.media.fragments import top_boxes
from avsync.repair import packets, services
from avsync.repair.packets import Contents, Stream

MUXERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".3gp": "3gp",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".m2ts": "mpegts",
    ".mpg": "vob",
    ".mpeg": "vob",
    ".vob": "vob",
    ".avi": "avi",
    ".flv": "flv",
    ".wmv": "asf",
    ".asf": "asf",
    ".ogg": "ogg",
    ".ogv": "ogg",
    ".mxf": "mxf",
    ".nut": "nut",
}
MOV_MUXERS = ("mov", "mp4", "3gp")


def muxer_of(file: Contents, dst: Path) -> str:
    """ffmpeg's name for the container of `dst`, by its suffix. If source and target have the same suffix, the
    source's real container is kept.

    Raises UsageError when the suffix names none."""
    suffix = dst.suffix.lower()
    if suffix == file.path.suffix.lower():
        return own_muxer(file)
    if suffix not in MUXERS:
        raise UsageError(
            f"The suffix of {dst.name} names no video format; choose a target that ends in "
            f"{file.path.suffix.lower() or '.mkv'}."
        )
    return MUXERS[suffix]


def own_muxer(file: Contents) -> str:
    """ffmpeg's name for the container of a file."""
    with file.path.open("rb") as opened:
        head = opened.read(4096)
    if file.container.startswith(packets.MOV_FAMILY):
        brand = file.tags.get("major_brand", "qt  ")
        return "mov" if brand.startswith("qt") else "3gp" if brand.startswith("3gp") else "mp4"
    if file.container.startswith("matroska"):
        return "webm" if b"webm" in head[:64] else "matroska"
    if file.container == "mpeg":
        # The byte after a pack's start code tells MPEG-2 from MPEG-1.
        pack = head.find(b"\0\0\1\xba")
        return "vob" if pack >= 0 and head[pack + 4 : pack + 5] >= b"\x40" else "mpeg"
    return file.container


def writable(file: Contents, stream: Stream, muxer: str) -> bool:
    """Whether the muxer accepts a stream. Only ffmpeg knows, so let it write a header."""
    arguments = ["-y", *packets.as_input(file), "-map", f"0:{stream.index}", "-c", "copy", "-copy_unknown"]
    try:
        run_ffmpeg([*arguments, "-t", "0", "-f", muxer, os.devnull], "write a header")
    except FfmpegError:
        return False
    return True


def muxer_options(file: Contents, streams: Sequence[Stream], muxer: str) -> list[str]:
    """ffmpeg's arguments that make a muxer preserve what the file has."""
    if muxer in MOV_MUXERS:
        return _mov_options(file, streams)
    if muxer == "matroska":
        return ["-default_mode", "passthrough"]
    if muxer == "mpegts":
        # Keep the times (the muxer would add 1.4 s), and the numbers of streams and programs.
        numbers = [s.number for s in streams] if file.container == "mpegts" else []
        return [
            *(services.muxer_options(file.path) if numbers else []),
            *("-mpegts_copyts", "1", "-mpegts_m2ts_mode", str(int(_has_blu_ray_packets(file.path)))),
            *(word for n, number in enumerate(numbers) for word in ("-streamid", f"{n}:{number}")),
        ]
    return []


def _mov_options(file: Contents, streams: Sequence[Stream]) -> list[str]:
    from_mov = file.container.startswith(packets.MOV_FAMILY)
    flags = ["faststart"] if from_mov and _index_first(file.path) else []
    options = ["-movie_timescale", "90000"]
    if any(key.startswith("com.") for key in file.tags):
        flags.append("use_metadata_tags")
        # That flag would also write the file's brand as a tag, one more with each repair.
        for key in ("major_brand", "minor_version", "compatible_brands"):
            options += ["-metadata", f"{key}="]
        if "creation_time" in file.tags:
            options += ["-metadata", f"creation_time={file.tags['creation_time'].split(';')[0]}"]
    if not from_mov:
        hevc = [n for n, s in enumerate(streams) if s.codec == "hevc"]
        options += [word for n in hevc for word in (f"-tag:{n}", "hvc1")]
    return [*options, *(["-movflags", "+" + "+".join(flags)] if flags else [])]


def _has_blu_ray_packets(path: Path) -> bool:
    """Whether transport packets begin with four bytes of arrival time, as in .m2ts."""
    with path.open("rb") as opened:
        head = opened.read(197)
    return len(head) == 197 and head[4] == head[196] == 0x47 != head[0]


def _index_first(path: Path) -> bool:
    """Whether an MP4 or MOV has its index (moov) before its data, so that it can play while downloading."""
    with path.open("rb") as opened:
        kinds = (kind for kind, *_ in top_boxes(opened) if kind in (b"moov", b"mdat"))
        return next(kinds, None) == b"moov"
