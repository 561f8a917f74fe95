"""Dataset versions: recorded once, anchored in the label chain."""

from __future__ import annotations

from sqlalchemy import Connection, select

from data_contracts.errors import IntegrityError, NotFound
from data_contracts.ledger.chain import GENESIS, append_rows, canonical_json
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.tables import DATASET_VERSION, LABEL_EVENT
from data_contracts.records import DatasetVersion, LedgerHead


def record_dataset(ledger: Ledger, version: DatasetVersion) -> DatasetVersion:
    """Record a dataset version and make it the latest; returns it as it was first recorded.

    Recording the latest version again changes nothing. A data set that is reached again after another one keeps its
    first record and becomes the latest once more.

    Raises:
        IntegrityError: the version is known with another manifest, or its ledger head is not in the label chain.
    """
    with ledger.writing() as connection:
        _require_head(connection, version.ledger_head)
        rows = connection.execute(
            select(DATASET_VERSION.c.sequence, DATASET_VERSION.c.manifest_sha256, DATASET_VERSION.c.record)
            .where(DATASET_VERSION.c.dataset_version == version.dataset_version)
            .order_by(DATASET_VERSION.c.sequence)
        ).all()
        if rows and rows[0].manifest_sha256 != version.manifest_sha256:
            raise IntegrityError(
                f"The dataset version {version.dataset_version} is known with another manifest.",
                cause="Its manifest was changed, or two data sets share a name.",
                remedy="Run `tailsight curate` again.",
            )
        first = DatasetVersion.model_validate_json(rows[0].record) if rows else version
        last = connection.execute(
            select(DATASET_VERSION.c.dataset_version).order_by(DATASET_VERSION.c.sequence.desc()).limit(1)
        ).scalar()
        if last == version.dataset_version:
            return first
        row = {
            "at": as_text(now()),
            "dataset_version": version.dataset_version,
            "manifest_sha256": version.manifest_sha256,
            "head_sequence": version.ledger_head.sequence,
            "head_hash": version.ledger_head.hash,
            "record": canonical_json(first.model_dump(mode="json")),
        }
        append_rows(connection, ledger.key, DATASET_VERSION, [row])
        return first


def dataset(ledger: Ledger, version: str) -> DatasetVersion:
    """One dataset version.

    Raises:
        NotFound: no such version was recorded.
    """
    for item in dataset_versions(ledger):
        if item.dataset_version == version:
            return item
    raise NotFound(
        f"There is no dataset version {version!r}.", remedy="Run `tailsight curate`, or give a version that it named."
    )


def latest_dataset(ledger: Ledger) -> DatasetVersion | None:
    """The version at which curating last arrived, ``None`` before the first."""
    with ledger.reading() as connection:
        text = connection.execute(
            select(DATASET_VERSION.c.record).order_by(DATASET_VERSION.c.sequence.desc()).limit(1)
        ).scalar()
    return None if text is None else DatasetVersion.model_validate_json(text)


def dataset_versions(ledger: Ledger) -> list[DatasetVersion]:
    """Every dataset version once, in the order in which they were first recorded."""
    with ledger.reading() as connection:
        texts = (
            connection.execute(select(DATASET_VERSION.c.record).order_by(DATASET_VERSION.c.sequence)).scalars().all()
        )
    versions: dict[str, DatasetVersion] = {}
    for text in texts:
        version = DatasetVersion.model_validate_json(text)
        versions.setdefault(version.dataset_version, version)
    return list(versions.values())


def _require_head(connection: Connection, head: LedgerHead) -> None:
    stored = connection.execute(select(LABEL_EVENT.c.hash).where(LABEL_EVENT.c.sequence == head.sequence)).scalar()
    if head.hash != (GENESIS if head.sequence == 0 else stored):
        raise IntegrityError(
            f"The data set names event {head.sequence} with hash {head.hash[:12]}… as the ledger's head; "
            "there is no such event.",
            cause="The ledger was replaced or changed since the data set was made.",
            remedy="See `tailsight labels verify`.",
        )
