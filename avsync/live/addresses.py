"""Which stream addresses are accepted, and which protocols a stream may open in turn."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from avsync.core.errors import UsageError

PROTOCOLS = {
    "http": "http,https,tcp,tls,crypto",
    "https": "https,tcp,tls,crypto",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "srt": "srt",
    "udp": "udp",
    "tcp": "tcp",
}
"""Scheme of an address -> protocols that ffmpeg may use. A playlist names further addresses, none of which
may be a local file."""


def protocols(address: str) -> str:
    """ffmpeg's list of protocols for an address. Raises UsageError if it is not a stream's address."""
    scheme = urlsplit(address).scheme.lower()
    if scheme not in PROTOCOLS or "://" not in address:
        raise UsageError(
            f"{address} is not the address of a stream; give one that begins with "
            f"{', '.join(f'{name}://' for name in PROTOCOLS)}, and check files with: avsync check."
        )
    return PROTOCOLS[scheme]


def shown(address: str) -> str:
    """An address without its secrets: user, password, the query, which may hold stream keys, and the last
    part of an RTMP address, which is one."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    application, slash, key = parts.path.rpartition("/")
    if parts.scheme.lower() in ("rtmp", "rtmps") and key and application:
        return urlunsplit((parts.scheme, host, f"{application}{slash}...", "", ""))
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
