"""Loads MLflow without telemetry and without chatter, and leaves the environment as it was."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

_NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
_NOISY_LOGGERS = ("mlflow", "alembic", "alembic.runtime.migration")


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@cache
def load_mlflow() -> ModuleType:
    """Import MLflow once (about three seconds, hence lazily), with its telemetry client switched off for good.

    MLflow decides about telemetry while it is imported, so the variables need to stand only that long; nothing is
    left in the environment for other programs that this process starts.
    """
    with _environment(_NO_TELEMETRY), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its tables use loaders that SQLAlchemy will drop one day
        import mlflow
        import mlflow.store.model_registry.sqlalchemy_store
        import mlflow.store.tracking.sqlalchemy_store
        import mlflow.telemetry

        mlflow.telemetry.set_telemetry_client()  # again, in case somebody imported MLflow before us
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    module: ModuleType = mlflow
    return module
