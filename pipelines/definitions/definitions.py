"""What ``dagster dev -m pipelines.definitions.definitions`` loads: the workspace named by ``TAILSIGHT_WORKSPACE``."""

from __future__ import annotations

from data_contracts.settings import read_settings
from data_contracts.workspace import Workspace
from pipelines.definitions.build import build_definitions

defs = build_definitions(Workspace(read_settings().workspace))
