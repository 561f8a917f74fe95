"""Loads MLflow without telemetry and without chatter, and leaves the environment as it was."""

from __future__ import annotations

import logging
import warnings
from functools import cache
from types import ModuleType

from data_contracts.settings import variables_set

_NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
_NOISY_LOGGERS = ("mlflow", "alembic", "alembic.runtime.migration")


@cache
def load_mlflow() -> ModuleType:
    """Import MLflow once (about three seconds, hence lazily), with its telemetry client switched off for good.

    MLflow decides about telemetry while it is imported, so the variables need to stand only that long; nothing is
    left in the environment for other programs that this process starts.
    """
    with variables_set(_NO_TELEMETRY), warnings.catch_warnings():
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
