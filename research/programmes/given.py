"""What every study of programmes is given: folders of clips, their own errors, a cache, and a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from avsync.bench.programme_clips import Material, collect
from avsync.data.labels import read_delays
from avsync.estimate.calibration import Calibration
from avsync.networks import checkpoint
from avsync.networks.fast import fast


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options that all studies have; `about`: the docstring of the script."""
    made = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    made.add_argument("data", type=Path, nargs="+")
    made.add_argument("--known", required=True, action="append")
    made.add_argument("--cache", type=Path, required=True)
    made.add_argument("--model", default="avsync-4")
    return made


def material(options: argparse.Namespace, jitter: float = 0.0) -> tuple[list[Material], Calibration]:
    """(the clips whose own error is known, with face boxes off by `jitter` pixels, the calibration of the
    model)."""
    loaded = fast(checkpoint.load(options.model))
    delays = {name: ms for file in options.known for name, ms in read_delays(file).items() if "/" in name}
    clips = collect(options.data, delays, options.cache, loaded, jitter)
    return clips, Calibration.from_dict(loaded.calibration)
