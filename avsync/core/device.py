"""Whether there may be a GPU, told without the libraries that use one."""

from __future__ import annotations

import sys
from pathlib import Path

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def may_have_gpu() -> bool:
    """False only where there is certainly no GPU that PyTorch could use."""
    return sys.platform not in ("linux", "darwin") or any(Path(driver).exists() for driver in GPU_DRIVERS)
