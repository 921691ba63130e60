"""Which addresses are streams, and what of them is shown."""

import pytest
from command import run

from avsync.core.errors import UsageError
from avsync.live.addresses import PROTOCOLS, protocols, shown


@pytest.mark.parametrize(
    "address", ["talk.mp4", "file:///etc/passwd", "concat:a|b", "-i", "udp:x", "data://x", ""]
)
def test_what_is_not_a_stream_is_refused(address: str):
    with pytest.raises(UsageError, match="avsync check"):
        protocols(address)


def test_no_stream_may_open_a_file():
    for allowed in PROTOCOLS.values():
        assert not {"file", "concat", "subfile", "data", "pipe", "fd"} & set(allowed.split(","))


def test_secrets_of_an_address_are_not_shown():
    assert shown("https://me:pass@host:8443/live.m3u8?key=1") == "https://host:8443/live.m3u8"
    assert shown("srt://host:9000?passphrase=secret") == "srt://host:9000"
    assert shown("rtmp://me:pass@host/live/key") == "rtmp://host/live/..."
    assert shown("rtmp://host/live") == "rtmp://host/live"


def test_a_wrong_address_is_a_sentence_and_exit_code_2():
    done = run("monitor", "talk.mp4")
    assert done.exit_code == 2
    assert "talk.mp4 is not the address of a stream" in done.stderr
