"""pandera schemas of every table that crosses a room, and the one way to read and write them as Parquet.

Validation collects every failing row, not the first.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from data_contracts.errors import IntegrityError
from data_contracts.vocabulary import Decision, Split

IMAGES = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, unique=True),
        "uri": pa.Column(str),
        "width": pa.Column(int, pa.Check.gt(0), coerce=True),
        "height": pa.Column(int, pa.Check.gt(0), coerce=True),
        "mode": pa.Column(str),
        "bit_depth": pa.Column(int, coerce=True),
        "format": pa.Column(str),
        "size_bytes": pa.Column(int, coerce=True),
        "perceptual_hash": pa.Column("int64", coerce=True),
        "brightness": pa.Column("float64", nullable=True, coerce=True, required=False),
        "group": pa.Column(str, nullable=True),
        "given_split": pa.Column(str, nullable=True),
    },
    strict=False,
    name="images",
)
"""Distinct images as the ledger knows them; one row per ``image_id``."""


def _in_one_split(manifest: pd.DataFrame) -> pd.Series[bool]:
    """For each row, whether its component is in at most one split besides the pool."""
    used = manifest[manifest["split"] != Split.POOL.value]
    pairs = used[["component", "split"]].drop_duplicates()
    crossing = pairs.loc[pairs["component"].duplicated(), "component"]
    return ~manifest["component"].isin(crossing)


MANIFEST = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, unique=True),
        "uri": pa.Column(str),
        "component": pa.Column(str),
        "group": pa.Column(str, nullable=True),
        "label": pa.Column(str, nullable=True),
        "class_index": pa.Column("int64", pa.Check.ge(-1), coerce=True),
        "weight": pa.Column("float64", pa.Check.ge(0), coerce=True),
        "split": pa.Column(str, pa.Check.isin([split.value for split in Split])),
    },
    checks=[
        pa.Check(
            lambda frame: frame["class_index"].ge(0) | frame["split"].eq(Split.POOL.value),
            error="an image without a class is in a labelled split",
        ),
        pa.Check(
            lambda frame: _in_one_split(frame),
            error="a component (group, duplicates) crosses splits",
        ),
    ],
    strict="filter",
    name="manifest",
)
"""A dataset version. ``component`` is what must never be split; ``class_index`` is -1 where there is no label."""

PREDICTIONS = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, unique=True),
        "class_index": pa.Column("int64", pa.Check.ge(-1), coerce=True),
        "group": pa.Column(str),
    },
    strict=False,
    name="predictions",
)
"""Predictions on a labelled split: also ``prob_<class>`` per class, calibrated, in class-index order, and
``predicted_index``, the class that the model would call the image.

``group`` is the component (so that a bootstrap draws whole components).
"""

SCORES = pa.DataFrameSchema(
    {
        "path": pa.Column(str),
        "image_id": pa.Column(str, nullable=True),
        "predicted": pa.Column(str, nullable=True),
        "confidence": pa.Column("float64", pa.Check.in_range(0, 1.000001), nullable=True, coerce=True),
        "margin": pa.Column("float64", pa.Check.in_range(0, 1.000001), nullable=True, coerce=True),
        "entropy": pa.Column("float64", pa.Check.ge(-1e-6), nullable=True, coerce=True),
        "conformal_set": pa.Column(object, nullable=True),
        "decision": pa.Column(str, pa.Check.isin([decision.value for decision in Decision])),
        "reason": pa.Column(str, nullable=True),
        "model_version": pa.Column(str),
        "error": pa.Column(str, nullable=True),
    },
    strict=False,
    name="scores",
)
"""Batch scores, one row per file; a file that cannot be read has ``error``, no prediction, and goes to review."""


def checked(frame: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return ``frame`` validated against ``schema``.

    Raises:
        IntegrityError: with every failing column, check and the first few rows of each.
    """
    try:
        return schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases.groupby(["column", "check"], dropna=False)["index"].agg(["size", "min"])
        lines = [
            f"{column}: {check} ({row['size']} rows, first {row['min']})" for (column, check), row in cases.iterrows()
        ]
        raise IntegrityError(f"The table {schema.name!r} is not valid: " + "; ".join(lines) + ".") from None


def write_table(frame: pd.DataFrame, path: Path, schema: pa.DataFrameSchema) -> None:
    """Validate and write a table as Parquet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    checked(frame, schema).to_parquet(temporary, index=False)
    temporary.replace(path)


def read_table(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Read and validate a Parquet table."""
    return checked(pd.read_parquet(path), schema)
