"""An MPEG stream that is shifted keeps its tables, its bit rate, its packets and their parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from joined_factory import lags_ms
from media_factory import MPEG2, X264, bar_and_click

from avsync import fix_offset
from avsync.media import pes, reference, tables
from avsync.media.parity import parity
from avsync.media.probe import probe
from avsync.media.transport import Reader

TOLERANCE_MS = 3.0
H264 = (*X264, "-bf", "2", "-g", "25")
NUMBERS = ("-mpegts_service_id", "77", "-mpegts_pmt_start_pid", "1280", "-mpegts_transport_stream_id", "9")
NAMES = ("-metadata", "service_name=Uno", "-metadata", "service_provider=Dos")


def stream(path: Path, *args: object, audio: str = "mp2", late_s: float = 0.2) -> Path:
    return bar_and_click(path, *args, *NUMBERS, *NAMES, audio_delay_s=late_s, codec=(*H264, "-c:a", audio))


def programs(path: Path) -> list[tuple[int, int, int]]:
    """(transport stream, program, PID of its map)."""
    pat = next(section.data for section in tables.sections(path) if section.is_pat)
    return [(tables.number(pat, 3), *both) for both in tables.programs(pat).items()]


def changed(before: Path, after: Path) -> int:
    """Bytes that differ; the sizes must not."""
    old, new = (np.frombuffer(path.read_bytes(), np.uint8) for path in (before, after))
    return int((old != new).sum())


def least_ahead_s(path: Path) -> float:
    """The shortest time by which audio lies before the moment at which it is due."""
    clock = reference.in_transport_stream(path, {256, 257})
    assert clock is not None
    data = path.read_bytes()
    fields = [f[0] for number, f in pes.time_fields(path, "mpegts") if number == 257]
    due_s = np.array([pes.ticks(data[at : at + 5]) for at in fields]) / pes.TICKS_PER_S
    return float(reference.unwrapped(due_s - clock.at(np.array(fields))[1]).min())


@pytest.mark.parametrize("offset_ms", [100.0, -87.0, 900.0])
@pytest.mark.parametrize(
    ("name", "audio", "args"),
    [
        pytest.param("a.ts", "mp2", ("-muxrate", "3M"), id="constant bit rate"),
        pytest.param("a.ts", "aac", (), id="several frames of audio in a packet"),
        pytest.param("a.m2ts", "ac3", (), id="blu-ray packets"),
    ],
)
def test_only_the_times_of_its_audio_change(
    tmp_path: Path, name: str, audio: str, args: tuple[str, ...], offset_ms: float
) -> None:
    src, dst = stream(tmp_path / name, *args, audio=audio), tmp_path / f"out-{name}"
    done = fix_offset(src, dst, offset_ms=offset_ms)
    assert done.in_place and 0 < changed(src, dst) < 1000
    wanted = lags_ms(probe(src))[0] + offset_ms
    assert np.mean(lags_ms(probe(dst))) == pytest.approx(wanted, abs=TOLERANCE_MS)
    assert programs(dst) == programs(src) and programs(src)[0][:2] == (9, 77)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.vob", (*MPEG2, "-c:a", "ac3")),
        ("a.vob", (*H264, "-c:a", "mp2")),
        ("a.mpg", (*MPEG2, "-c:a", "mp2")),
    ],
)
def test_so_it_is_with_a_program_stream(tmp_path: Path, name: str, codec: tuple[str, ...]) -> None:
    src, dst = bar_and_click(tmp_path / name, audio_delay_s=0.2, codec=codec), tmp_path / f"out-{name}"
    done = fix_offset(src, dst, offset_ms=100)
    assert done.in_place and 0 < changed(src, dst) < 1000
    assert np.mean(lags_ms(probe(dst))) == pytest.approx(300, abs=TOLERANCE_MS)


@pytest.mark.parametrize("offset_ms", [-87.0, -600.0])
def test_where_it_would_be_due_before_it_arrives_it_is_stored_earlier(
    tmp_path: Path, offset_ms: float
) -> None:
    src, dst = stream(tmp_path / "a.ts", "-muxdelay", "0.05", "-muxpreload", "0.7"), tmp_path / "out.ts"
    assert 0 <= least_ahead_s(src) < 0.087
    done = fix_offset(src, dst, offset_ms=offset_ms)
    assert not done.in_place and least_ahead_s(dst) >= 0
    assert np.mean(lags_ms(probe(dst))) == pytest.approx(200 + offset_ms, abs=TOLERANCE_MS)
    assert programs(dst) == [(9, 77, 1280)]
    assert b"Uno" in dst.read_bytes() and b"Dos" in dst.read_bytes()


def test_what_another_way_of_storing_it_loses_is_said(tmp_path: Path) -> None:
    rate = ("-muxrate", "3M", "-muxdelay", "0.05", "-muxpreload", "0.7")
    src = with_parity(stream(tmp_path / "a.ts", *rate), tmp_path / "b.ts")
    done = fix_offset(src, tmp_path / "out.ts", offset_ms=-600)
    assert not done.in_place
    assert "cannot keep a constant bit rate, packets of 204 bytes" in done.sentence


def with_parity(path: Path, target: Path, right: bool = True) -> Path:
    """A copy with packets of 204 bytes, with the right parity or zeros."""
    data = path.read_bytes()
    packets = (data[place : place + 188] for place in range(0, len(data), 188))
    target.write_bytes(b"".join(p + (parity(p) if right else bytes(16)) for p in packets))
    return target


@pytest.mark.parametrize("right", [True, False])
def test_parity_is_right_where_it_was(tmp_path: Path, right: bool) -> None:
    src = with_parity(stream(tmp_path / "a.ts"), tmp_path / "b.ts", right)
    dst = tmp_path / "out.ts"
    assert fix_offset(src, dst, offset_ms=100).in_place
    data = dst.read_bytes()
    for at in range(0, len(data), 204):
        packet, after = data[at : at + 188], data[at + 188 : at + 204]
        assert after == (parity(packet) if right else bytes(16))
    assert np.mean(lags_ms(probe(dst))) == pytest.approx(300, abs=TOLERANCE_MS)
    with dst.open("rb") as file:
        assert [packets.size for packets in Reader(file).chunks()] == [204]


def test_parity_is_that_of_the_standard() -> None:
    """A code word is 0 at the first sixteen powers of the field's generator."""
    packet = bytes([0x47, 0x1F, 0xFF, 0x10]) + bytes(range(184))
    word, power = packet + parity(packet), 1
    for _ in range(16):
        value = 0
        for byte in word:
            value = times(value, power) ^ byte
        assert value == 0
        power = times(power, 2)


def times(a: int, b: int) -> int:
    """The product of two bytes in the field."""
    found = 0
    for bit in range(8):
        if b >> bit & 1:
            found ^= a << bit
    for bit in range(14, 7, -1):
        if found >> bit & 1:
            found ^= 0x11D << bit - 8
    return found


@pytest.mark.parametrize("size", [188, 10])
def test_a_packet_without_room_for_its_times_is_stored_anew(tmp_path: Path, size: int) -> None:
    """Where the header of an audio packet is cut after its start code, its times are in the next one."""
    src, dst = stream(tmp_path / "a.ts"), tmp_path / "out.ts"
    if size == 10:
        pushed(src, size)
    done = fix_offset(src, dst, offset_ms=100)
    assert done.in_place == (size == 188)
    assert np.mean(lags_ms(probe(dst))) == pytest.approx(300, abs=TOLERANCE_MS)


def pushed(path: Path, size: int) -> None:
    """Leave but `size` bytes of payload in the first packet of the last audio packet that fits in two."""
    data = path.read_bytes()
    packets = [bytearray(data[place : place + 188]) for place in range(0, len(data), 188)]
    audio = [n for n, p in enumerate(packets) if (p[1] & 31) << 8 | p[2] == 257]
    begins = [n for n in audio if packets[n][1] & 0x40]
    first = begins[len(begins) // 2]
    payload = bytes(packets[first][4 + (packets[first][4] + 1 if packets[first][3] & 0x20 else 0) :])
    head, rest = payload[:size], payload[size:]
    one, two = (bytearray(packets[first][:4]) for _ in range(2))
    for packet, content in ((one, head), (two, rest)):
        stuffing = 184 - len(content)
        packet[3] = 0x30 | packet[3] & 15
        packet.extend(bytes([stuffing - 1]) + (b"\0" + b"\xff" * (stuffing - 2))[: stuffing - 1] + content)
    two[1] &= ~0x40
    packets[first : first + 1] = [one, two]
    for count, packet in enumerate(p for p in packets if (p[1] & 31) << 8 | p[2] == 257):
        packet[3] = packet[3] & 0xF0 | count & 15
    path.write_bytes(b"".join(bytes(p) for p in packets))
