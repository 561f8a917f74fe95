"""Keeping freed memory for the next batch.

glibc returns large blocks to the system as soon as they are freed and asks for them again in the next layer; every
page is then faulted in anew. Raising the allocator's limits keeps the blocks (one run each on a busy two-core box,
``tf_efficientnet_lite0`` at 128 px, batch 32: 29 and 44 images per two seconds of processor time).
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


@cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks in this process; ``False`` where it cannot be told (not glibc)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1), (_M_TOP_PAD, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)
