"""Bitstream filters of ffmpeg that give packets other times than their demuxer does."""

from __future__ import annotations

from collections.abc import Sequence

from avsync.media.ffmpeg import program
from avsync.repair import packets
from avsync.repair.packets import Contents, Stream


def own_times(streams: Sequence[Stream], video: int, late_s: float) -> list[str]:
    """A bitstream filter that gives the video the times at which it is presented (`VideoStream.late_s`)."""
    here = number(streams, video)
    late = f"({late_s:.9f}/TB)"
    return [f"-bsf:{here}", f"setts=pts=PTS+{late}:dts=DTS+{late}"]


def number(streams: Sequence[Stream], index: int) -> int:
    """The number in the target of the stream `index` of the source."""
    return next(n for n, s in enumerate(streams) if s.index == index)


def counted_times(file: Contents, streams: Sequence[Stream], encoded: int | None) -> list[str]:
    """Bitstream filters for audio of which every second packet has the time of the next: each begins where
    the one before it ends."""
    doubled = packets.doubled(file)
    numbers = [n for n, s in enumerate(streams) if s.index in doubled and s.index != encoded]
    after = "if(eq(N\\,0)\\,{0}TS\\,PREV_OUT{0}TS+PREV_OUTDURATION)"
    expression = f"setts=pts={after.format('P')}:dts={after.format('D')}"
    return [word for n in numbers for word in (f"-bsf:{n}", expression)]


def shifted(streams: Sequence[Stream], moved: Sequence[int], shift_s: float) -> list[str]:
    """Bitstream filters that shift in a finer time unit than the source's."""
    ticks, arguments = round(shift_s * 90_000), []
    prescales = program().prescales
    for n, stream in enumerate(streams):
        if stream.index in moved:
            # Versions without the option take the values as those of the new unit.
            unit = "" if prescales else f"*{90_000 * stream.tick_s:.12g}"
            times = [f"{name.lower()}={name}{unit}+({ticks})" for name in ("PTS", "DTS")]
            options = ["prescale=1"] if prescales else [f"duration=DURATION{unit}"]
            arguments += [f"-bsf:{n}", ":".join(("setts=time_base=1/90000", *options, *times))]
    return arguments
