"""Which processor this is, and whether another computes the same numbers."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

DECISIVE = frozenset(
    {
        *("avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_int8", "amx_bf16", "amx_fp16"),
        *("asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve"),
    }
)
"""Instructions that decide how sums of 8-bit and 16-bit products are rounded or cut off, as Linux names them.

Without VNNI, for example, two products of 8-bit integers are added in 16 bits, where they may not fit.
"""

DOT_PRODUCTS = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
"""Any of these adds products of 8-bit integers in 32 bits at once."""


@cache
def processor_name() -> str:
    """The processor's model and instructions, as the system calls them; a bare name where it says no more."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features")
    lines = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(wanted))
    return " ".join(sorted(set(lines)))


def computes_alike(one: str, other: str) -> bool:
    """Whether two processors, named by :func:`processor_name`, have the same of the :data:`DECISIVE` instructions."""
    if one == other:
        return True
    first, second = (DECISIVE & set(name.split()) for name in (one, other))
    return bool(first) and first == second


def adds_8_bit_products_in_32_bits() -> bool:
    """Whether sums of 8-bit products always fit here.

    Elsewhere (AVX2 alone) two products are added in 16 bits and cut off where they do not fit, which they always do
    where weights have 7 bits.
    """
    return bool(DOT_PRODUCTS & set(processor_name().split()))


def instructions_in_words(name: str) -> str:
    """The decisive instructions of a processor named by :func:`processor_name`."""
    return ", ".join(sorted(DECISIVE & set(name.split()))) or "of unknown instructions"
