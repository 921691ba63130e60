"""Which addresses of streams are taken, and what a stream may open in turn."""

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
"""By the scheme of an address: the protocols that ffmpeg may use for it. A playlist names further addresses,
and none of them may be a file of this machine."""


def protocols(address: str) -> str:
    """ffmpeg's list of the protocols for an address. Raises UsageError where it is none of a stream."""
    scheme = urlsplit(address).scheme.lower()
    if scheme not in PROTOCOLS or "://" not in address:
        raise UsageError(
            f"{address} is no address of a stream; give one that begins with "
            f"{', '.join(f'{name}://' for name in PROTOCOLS)}, and check files with: avsync check."
        )
    return PROTOCOLS[scheme]


def shown(address: str) -> str:
    """An address without what may be secret in it: user, password, and the query with stream keys."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
