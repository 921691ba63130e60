"""Prints the table of docs/repair.md: claps in pairs of codec and container, repaired and decoded again.

.venv/bin/python research/repair_shifts.py [PART OF A NAME ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

from clap_factory import PAIRS, clap, lag_ms

from avsync import fix_offset
from avsync.core.errors import MediaError

SHIFTS_MS = (100.0, -87.0)


def main() -> None:
    print("| codecs | from | to | click less flash, ms | delayed by 100 | advanced by 87 |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name, codecs in PAIRS.items():
            if not any(part in name for part in sys.argv[1:] or [""]):
                continue
            source = clap(Path(folder) / name, *codecs)
            before = lag_ms(source)
            suffixes = dict.fromkeys((".mkv",) if source.suffix == ".avi" else (source.suffix, ".mkv"))
            for suffix in suffixes:
                target = source.with_name(f"out{suffix}")
                after = []
                for shift_ms in SHIFTS_MS:
                    try:
                        fix_offset(source, target, offset_ms=shift_ms, force=True)
                        after.append(f"{lag_ms(target):.1f}")
                    except MediaError:
                        after.append("refused")
                pair = source.stem.replace("-", " + ")
                print(
                    f"| {pair} | {source.suffix} | {suffix} | {before:.1f} | {' | '.join(after)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
