"""Where networks are computed: the GPU where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

_OF_GPUS = tuple(Path("/dev") / name for name in ("nvidiactl", "nvidia0", "nvmap", "dxg", "kfd"))
"""What a driver puts there: of NVIDIA's cards and boards, of Windows below a Linux, of AMD."""


def compute_device() -> str:
    """``cuda`` where torch can use a GPU, else ``cpu``.

    Torch takes a second to load, so it is not asked where Linux shows no GPU's driver.
    """
    if sys.platform == "linux" and not any(path.exists() for path in _OF_GPUS):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
