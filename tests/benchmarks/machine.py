"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 with bf16", "avx512f": "AVX-512", "avx2": "AVX2"}
"""What decides most about speed, by the processor's flag, the widest first; one name may mean several processors."""


def machine() -> dict[str, Any]:
    """Processor with its widest instructions, cores that this process may use, and memory."""
    said = dict(
        (part.strip() for part in line.split(":", 1))
        for line in reversed(Path("/proc/cpuinfo").read_text().splitlines())
        if ":" in line
    )
    flags = set(said.get("flags", "").split())
    return {
        "cpu": said.get("model name", platform.processor()),
        "instructions": next((name for flag, name in INSTRUCTIONS.items() if flag in flags), None),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
    }


def in_words(found: Mapping[str, Any]) -> str:
    """A machine as a reader is told of it; results of before 2026-11-24 do not say their instructions."""
    instructions = f" ({found['instructions']})" if found.get("instructions") else ""
    return f"{found['cpu']}{instructions}, {found['cores']} cores, {found['memory_gb']} GB"
