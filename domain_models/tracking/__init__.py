"""The model registry: MLflow on SQLite inside the workspace. This package is the only importer of MLflow."""

from __future__ import annotations

from domain_models.tracking.entries import ModelVersionInfo
from domain_models.tracking.registry import Registry

__all__ = ["ModelVersionInfo", "Registry"]
