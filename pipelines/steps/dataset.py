"""Dataset versions on disk: written once, read back only if they still are what was recorded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd

from data_contracts.errors import IntegrityError, NotFound
from data_contracts.frames import MANIFEST, read_table, write_table
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.datasets import dataset, latest_dataset
from data_contracts.ledger.taxonomies import newest_with_names
from data_contracts.records import DatasetVersion
from data_contracts.settings import read_settings
from data_contracts.taxonomy import Taxonomy
from data_contracts.workspace import Workspace, write_atomically

MANIFEST_FILE = "manifest.parquet"
RECORD_FILE = "dataset.json"

_HASHED = ("image_id", "uri", "component", "group", "label", "class_index", "weight", "split")


def manifest_hash(manifest: pd.DataFrame, taxonomy: Taxonomy) -> str:
    """sha256 of a manifest's meaning: its rows by image id and the class order, not the bytes of the Parquet file."""
    ordered = manifest.sort_values("image_id", kind="stable")
    columns = [ordered[name].astype(object).where(ordered[name].notna(), None).to_list() for name in _HASHED]
    digest = hashlib.sha256(json.dumps(taxonomy.names, ensure_ascii=False).encode())
    for row in zip(*columns, strict=True):
        digest.update(json.dumps(row, ensure_ascii=False, default=float).encode() + b"\n")
    return digest.hexdigest()


def version_name(sha256: str) -> str:
    """Name of the dataset version with this manifest hash."""
    return f"d-{sha256[:12]}"


def write_dataset(folder: Path, record: DatasetVersion, manifest: pd.DataFrame) -> None:
    """Write manifest and record into the version's folder; the record last, so that it vouches for the manifest."""
    write_table(manifest, folder / MANIFEST_FILE, MANIFEST)
    write_atomically(folder / RECORD_FILE, record.model_dump_json(indent=1))


def read_dataset(workspace: Workspace, record: DatasetVersion) -> pd.DataFrame:
    """The manifest of a recorded version.

    Raises:
        NotFound: its file is gone.
        IntegrityError: it is not what was recorded.
    """
    path = workspace.dataset(record.dataset_version) / MANIFEST_FILE
    if not path.is_file():
        raise NotFound(
            f"The manifest of dataset version {record.dataset_version} is not at {path}.",
            remedy="Run `tailsight curate` again: the same labels and splits give the same version.",
        )
    manifest = read_table(path, MANIFEST)
    if manifest_hash(manifest, record.taxonomy) != record.manifest_sha256:
        raise IntegrityError(
            f"The manifest {path} is not the one that was recorded as {record.dataset_version}.",
            cause="It was edited or damaged.",
            remedy="Delete the file and run `tailsight curate` again.",
        )
    return manifest


def load_dataset(workspace: Workspace, version: str | None = None) -> tuple[DatasetVersion, pd.DataFrame]:
    """A dataset version and its manifest (``frames.MANIFEST``), verified; the latest if none is named.

    Its taxonomy is the newest one with these classes: a data set that was reached again after classes were renamed and
    renamed back is the same, yet models were trained in between that call them otherwise.

    Raises:
        NotFound: nothing was curated yet, or there is no such version.
        IntegrityError: the manifest is not what was recorded.
    """
    with Ledger.open(workspace.require(), read_settings()) as ledger:
        record = dataset(ledger, version) if version is not None else latest_dataset(ledger)
        if record is None:
            raise NotFound("There is no dataset version yet.", remedy="Run `tailsight curate` first.")
        record = record.model_copy(update={"taxonomy": newest_with_names(ledger, record.taxonomy)})
    return record, read_dataset(workspace, record)
