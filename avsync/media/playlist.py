"""HLS playlists, read on request only: their segments become one temporary file. A playlist may name files of
its own folder, or addresses of its own host, and nothing else.

Segments are joined byte by byte, which for MPEG-TS and for fragmented MP4 after its initialization section is
a file of that kind; the clock of the container (see `clock`) makes sense of discontinuities.
"""

from __future__ import annotations

import heapq
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import av
from av.error import FFmpegError

from avsync.core.draft import scratch
from avsync.core.errors import MediaError
from avsync.media.container import demux, opened

if TYPE_CHECKING:
    import requests

MARK = b"#EXTM3U"
TEXT_BYTES = 10 << 20
"""Of a playlist; a day of segments of one second has a tenth of that."""
REPEATS = 10
"""How often a playlist may name one part of a file, and how many times its bytes it may use a file in all: a
kilobyte could otherwise mean terabytes."""
WITH_CLOCK = ("mpegts", "mov")
"""Containers of segments whose timestamps are those of the other playlists, too; bare AAC has none."""
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Part:
    """Bytes [start, start + length) of what is at an absolute path or address; `length` None: all of it."""

    place: str
    start: int = 0
    length: int | None = None


def is_playlist(path: Path) -> bool:
    """Whether the file says that it is an HLS playlist."""
    try:
        if not path.is_file():  # opening a pipe may wait for ever
            return False
        with path.open("rb") as file:
            return file.read(len(MARK) + 3).removeprefix(b"\xef\xbb\xbf").startswith(MARK)
    except (OSError, ValueError):
        return False


@contextmanager
def gathered(source: Path | str) -> Iterator[Path]:
    """The media of a playlist (a path, or an http(s) address) as one file while the block runs. Of a playlist
    of variants the one with the highest bandwidth is taken, with the audio that goes with it by default.

    Raises:
        MediaError: it is no playlist, names something outside its folder or host, is encrypted, or cannot be
            read.
    """
    with ExitStack() as stack:
        reader = _Folder(source.resolve().parent) if isinstance(source, Path) else _host(source, stack)
        where = str(source.resolve()) if isinstance(source, Path) else source
        video, audio = _chosen(reader, where)
        joined = stack.enter_context(_joined(reader, video))
        yield (
            joined
            if audio is None
            else stack.enter_context(_muxed(joined, stack.enter_context(_joined(reader, audio)), where))
        )


# --- Where a playlist may reach ------------------------------------------------------------


class _Folder:
    """Reads files in one folder and below it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: Counter[str] = Counter()

    def resolve(self, base: str, uri: str) -> str:
        """The file that a playlist at `base` calls `uri`, by its true path."""
        if urlsplit(uri).scheme or uri.startswith("//") or "\0" in uri:
            raise _outside(base, uri, "its own folder")
        near = Path(base).parent
        path = near / uri if (near / uri).exists() else near / unquote(uri.partition("?")[0])
        path = path.resolve()
        if not path.is_relative_to(self._folder):
            raise _outside(base, uri, "its own folder")
        return str(path)

    def read(self, part: Part) -> Iterator[bytes]:
        path = Path(part.place)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise MediaError(f"{path}, which the playlist names, is not a regular file.")
            with path.open("rb") as file:
                file.seek(part.start)
                for block in _limited(iter(lambda: file.read(CHUNK_BYTES), b""), part.length):
                    self._taken[part.place] += len(block)
                    if self._taken[part.place] > REPEATS * status.st_size:
                        raise MediaError(f"The playlist uses {path} over and over; give the media itself.")
                    yield block
        except (OSError, ValueError) as error:
            raise MediaError(f"{path}, which the playlist names, cannot be read ({error}).") from error


class _Host:
    """Reads addresses with one scheme, host and port."""

    def __init__(self, session: requests.Session, address: str) -> None:
        self._session = session
        self._origin = _origin(address)

    def resolve(self, base: str, uri: str) -> str:
        """The address that a playlist at `base` calls `uri`."""
        try:
            address = urljoin(base, uri)
            if _origin(address) == self._origin:
                return address
        except ValueError:
            pass
        raise _outside(base, uri, "its own host")

    def read(self, part: Part) -> Iterator[bytes]:
        import requests

        last = "" if part.length is None else part.start + part.length - 1
        ranges = {} if part.length is None and not part.start else {"Range": f"bytes={part.start}-{last}"}
        try:
            address = part.place
            for _ in range(REPEATS):
                with self._session.get(
                    address, stream=True, timeout=TIMEOUT_S, headers=ranges, allow_redirects=False
                ) as response:
                    if response.is_redirect:
                        address = self.resolve(address, response.headers["Location"])
                        continue
                    if not response.ok or (ranges and response.status_code != requests.codes.partial_content):
                        raise MediaError(
                            f"{part.place}, which the playlist names, cannot be downloaded "
                            f"({response.status_code} {response.reason}); try again."
                        )
                    yield from _limited(response.iter_content(CHUNK_BYTES), part.length)
                    return
            raise MediaError(f"{part.place}, which the playlist names, leads in a circle.")
        except requests.RequestException as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise MediaError(
                f"{part.place}, which the playlist names, cannot be downloaded ({why})."
            ) from error


_Reader = _Folder | _Host


def _host(address: str, stack: ExitStack) -> _Host:
    import requests

    return _Host(stack.enter_context(requests.Session()), address)


def _origin(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme.lower(), parts.hostname, parts.port


def _outside(base: str, uri: str, where: str) -> MediaError:
    return MediaError(f"The playlist {base} names {uri[:200]}, which is not in {where}; that is not read.")


def _limited(blocks: Iterator[bytes], length: int | None) -> Iterator[bytes]:
    left = length
    for block in blocks:
        if left is None:
            yield block
            continue
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


# --- What a playlist says ------------------------------------------------------------------


def _chosen(reader: _Reader, where: str) -> tuple[list[Part], list[Part] | None]:
    """The parts of the media, and of separate audio where there is some."""
    playlist = _read(reader, where)
    if not playlist.is_variant:
        return _parts(reader, playlist, where), None
    variants = [variant for variant in playlist.playlists if variant.uri]
    if not variants:
        raise MediaError(f"The playlist {where} names no video.")
    best = max(variants, key=lambda variant: variant.stream_info.bandwidth or 0)
    group = best.stream_info.audio
    spoken = [m for m in playlist.media if m.type == "AUDIO" and m.group_id == group and group is not None]
    spoken.sort(key=lambda media: media.default != "YES")
    video = _of_variant(reader, where, best.uri)
    # Audio without an address of its own is in the video's segments.
    return video, _of_variant(reader, where, spoken[0].uri) if spoken and spoken[0].uri else None


def _of_variant(reader: _Reader, where: str, uri: str) -> list[Part]:
    place = reader.resolve(where, uri)
    playlist = _read(reader, place)
    if playlist.is_variant:
        raise MediaError(f"The playlist {where} names a playlist of playlists, {place}; give that one.")
    return _parts(reader, playlist, place)


def _read(reader: _Reader, place: str) -> Any:
    import m3u8

    text = b""
    for block in reader.read(Part(place)):
        text += block
        if len(text) > TEXT_BYTES or not text.lstrip(b"\xef\xbb\xbf").startswith(MARK):
            raise MediaError(f"{place} is not an HLS playlist; give one, or the media itself.")
    try:
        return m3u8.loads(text.decode("utf-8-sig"))
    except Exception as error:  # m3u8 raises whatever a wrong line leads to
        raise MediaError(f"{place} is a damaged HLS playlist.") from error


def _parts(reader: _Reader, playlist: Any, place: str) -> list[Part]:
    """The parts of a playlist of segments, in order: the initialization section first, where there is one."""
    if any(key is not None and (key.method or "NONE") != "NONE" for key in playlist.keys):
        raise MediaError(f"The media of {place} are encrypted; give a copy without protection.")
    parts: list[Part] = []
    ends: dict[str, int] = {}
    section = None
    for segment in playlist.segments:
        if not segment.uri:
            continue
        if segment.init_section is not None:
            own = _part(reader, place, segment.init_section.uri, segment.init_section.byterange, {})
            if section is not None and own != section:
                raise MediaError(f"The media of {place} change their format midway; give them as files.")
            if section is None:
                parts.append(own)
            section = own
        parts.append(_part(reader, place, segment.uri, segment.byterange, ends))
    if not parts:
        raise MediaError(f"The playlist {place} names no media; give one that does.")
    if Counter(parts).most_common(1)[0][1] > REPEATS:
        raise MediaError(f"The playlist {place} names one part over and over; give the media itself.")
    return parts


def _part(reader: _Reader, base: str, uri: str, byterange: str | None, ends: dict[str, int]) -> Part:
    """A part by its address and its range, "length@start" or "length", which follows the one before."""
    place = reader.resolve(base, uri)
    if not byterange:
        return Part(place)
    length, _, start = byterange.strip('"').partition("@")
    try:
        part = Part(place, int(start) if start else ends.get(place, 0), int(length))
    except ValueError:
        part = Part(place, -1, 0)
    if part.start < 0 or (part.length or 0) <= 0:
        raise MediaError(f"The playlist {base} has a wrong byte range, {byterange[:50]!r}.")
    ends[place] = part.start + (part.length or 0)
    return part


# --- One file --------------------------------------------------------------------------------


@contextmanager
def _joined(reader: _Reader, parts: list[Part]) -> Iterator[Path]:
    with scratch() as (file, path):
        for part in parts:
            for block in reader.read(part):
                _write(file, block)
        file.flush()
        yield path


def _write(file: IO[bytes], block: bytes) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise MediaError(
            f"The media of the playlist do not fit into the folder for temporary files ({error.strerror}); "
            "free some space there, or set TMPDIR."
        ) from error


@contextmanager
def _muxed(video: Path, audio: Path, where: str) -> Iterator[Path]:
    """Video and separate audio in one file, at the times that they have."""
    options = {"avoid_negative_ts": "disabled"}
    with scratch() as (file, path):
        try:
            with (
                opened(video) as pictures,
                opened(audio) as sound,
                av.open(file, "w", format="matroska", container_options=options) as out,
            ):
                taken = [*pictures.streams.video[:1], *sound.streams.audio[:1]]
                if len(taken) < 2 or not sound.format.name.startswith(WITH_CLOCK):
                    raise MediaError(
                        f"The playlist {where} has no video, or audio without a clock; give one file."
                    )
                streams = {stream: out.add_stream_from_template(stream) for stream in taken}
                packets = (demux(pictures, taken[0]), demux(sound, taken[1]))
                timed = ((p for p in demuxed if p.dts is not None) for demuxed in packets)
                for packet in heapq.merge(*timed, key=lambda packet: packet.dts * packet.time_base):
                    packet.stream = streams[packet.stream]
                    out.mux(packet)
        except (FFmpegError, OSError, ValueError) as error:
            raise MediaError(
                f"The separate audio of {where} cannot be joined with its video ({error}); give one file."
            ) from error
        file.flush()
        yield path
