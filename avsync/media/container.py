"""Open a media file: recognised by its content, and never anything that it refers to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import Flags, InputContainer

DEMUXERS = (
    "3gp,aac,ac3,ac4,aiff,amr,ape,asf,au,av1,avi,avs2,avs3,caf,cavsvideo,dirac,dnxhd,dsf,dts,dtshd,dv,eac3,evc,"
    "flac,flv,gif,gxf,h261,h263,h264,hevc,ivf,loas,lxf,m4v,matroska,mjpeg,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "mpegvideo,mxf,nsv,nut,obu,ogg,r3d,rm,shn,simbiosis_imx,tak,truehd,tta,ty,vc1,vc1test,voc,vvc,w64,wav,webm,"
    "wtv,wv,yuv4mpegpipe,ass,srt,webvtt"
)
"""Formats that hold their media themselves. Playlists, session descriptions, image sequences and scripts
(hls, dash, concat, sdp, rtsp, image2, imf, vobsub, lavfi ...) name other files or addresses: not opened."""

UNORDERED = ("h264", "hevc", "vvc")
"""Codecs whose frames may be stored in any other order than they are shown. Where a container has no times of
presentation, as AVI and some ASF, FFmpeg guesses them from the order in which they are stored: wrongly, even
where that is the order in which they are shown."""


def source(path: Path) -> str:
    """A file name as FFmpeg takes it literally, also when it starts with '-' or looks like a URL."""
    return f"file:{path.absolute()}"


def opened(
    path: Path, window: tuple[int, int] | None = None, *, device: str | None = None, **options: str
) -> InputContainer:
    """The file as a PyAV container, to be used in a `with` statement; `options` are those of its demuxer.

    window: the bytes [first, past) that are to count as the file; None: all. device: kind of device that is
    to decode its video; None: the processor. Raises av.error.FFmpegError or OSError when it is no such file;
    with a device also RuntimeError, when that cannot decode it.
    """
    name, protocols = source(path), "file"
    if window is not None:
        name, protocols = f"subfile,,start,{window[0]},end,{window[1]},,:{name}", "file,subfile"
    guarded: dict[str, Any] = {"protocol_whitelist": protocols, "format_whitelist": DEMUXERS}
    accelerated = HWAccel(device) if device else None
    container = av.open(name, options=guarded | options, metadata_errors="replace", hwaccel=accelerated)
    if any(s.codec_context and s.codec_context.name in UNORDERED for s in container.streams.video):
        container.flags &= ~Flags.gen_pts.value
    return container


def demux(container: InputContainer, *streams: Any) -> Iterator[Any]:
    """The packets of these streams, or of all; then an empty one for each, as PyAV's `demux` has it.

    Damaged files of formats without a header, such as FLV, can show further streams as they are read. PyAV
    then looks for those at the end too, and may find in memory that is not its own that they were wanted.
    """
    with suppress(IndexError):
        yield from container.demux(*streams)
