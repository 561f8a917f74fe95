"""The compose file as its tests read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "compose"
COMPOSE = FOLDER / "compose.yaml"
SERVED = ("dagster", "mlflow", "app")
ONE_SHOT = ("prepare", "tailsight")
WITHOUT_CHECK = (*ONE_SHOT, "deliveries")
"""What ends by itself, and what only waits and tries again: there is nothing to ask it."""


def services() -> dict[str, dict[str, Any]]:
    """Every service, anchors resolved and variables as they are written."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


def with_defaults(text: str) -> str:
    """``${NAME:-value}`` becomes ``value``."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
