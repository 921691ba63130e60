"""The parity of transport packets of 204 bytes, Reed-Solomon (204, 188): ETSI EN 300 744 4.3.2.

A receiver that finds it wrong takes up to eight changed bytes for errors, and takes them back.
"""

from __future__ import annotations

PACKET_BYTES, PARITY_BYTES = 188, 16
FIELD = 0x11D
"""The polynomial x^8 + x^4 + x^3 + x^2 + 1, by which bytes are multiplied."""


def _powers() -> list[int]:
    powers = [1]
    for _ in range(254):
        power = powers[-1] << 1
        powers.append(power ^ FIELD if power > 0xFF else power)
    return powers


_POWERS = _powers()
_LOGS = {power: exponent for exponent, power in enumerate(_POWERS)}


def _product(a: int, b: int) -> int:
    return _POWERS[(_LOGS[a] + _LOGS[b]) % 255] if a and b else 0


def _generator() -> list[int]:
    """The coefficients, the highest first, of the polynomial whose roots are the first sixteen powers."""
    found = [1]
    for root in _POWERS[:PARITY_BYTES]:
        raised, times_root = [*found, 0], [0, *(_product(one, root) for one in found)]
        found = [a ^ b for a, b in zip(raised, times_root, strict=True)]
    return found


_GENERATOR = _generator()


def parity(packet: bytes) -> bytes:
    """The sixteen bytes that follow a packet of 188."""
    rest = [0] * PARITY_BYTES
    for byte in packet:
        factor = byte ^ rest[0]
        rest = [a ^ _product(factor, g) for a, g in zip([*rest[1:], 0], _GENERATOR[1:], strict=True)]
    return bytes(rest)
