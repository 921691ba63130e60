"""Averages the frame trunk of a network with those of networks that it descends from.

    python research/speech/trunk.py OUT BASE OTHER...

Each trunk counts alike; all else is that of BASE. What comes after the trunk must then learn to go with it
(`heads.py`). Seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from avsync.networks import checkpoint

TRUNK = "vid_prenet."


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("base")
    parser.add_argument("other", nargs="+")
    given = parser.parse_args()
    base, *others = (checkpoint.load(name, "cpu") for name in (given.base, *given.other))
    own = base.model.state_dict()
    states = [own, *(other.model.state_dict() for other in others)]
    for name, value in own.items():
        if name.startswith(TRUNK) and value.is_floating_point():
            own[name] = torch.stack([state[name] for state in states]).mean(0)
    base.model.load_state_dict(own)
    about = {"trunk_of": [base.name, *(other.name for other in others)]}
    checkpoint.save(given.out, base.model, base.preprocessing, about)


if __name__ == "__main__":
    main()
