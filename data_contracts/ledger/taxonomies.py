"""Versions of the taxonomy: appended, never changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, select

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.chain import append_rows, canonical_json, read_head
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, now
from data_contracts.ledger.tables import LABEL_EVENT, TAXONOMY_VERSION
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.taxonomy_changes import described


def taxonomy_in(connection: Connection) -> Taxonomy:
    """The current taxonomy, read in a transaction that is under way."""
    text = connection.execute(
        select(TAXONOMY_VERSION.c.taxonomy).order_by(TAXONOMY_VERSION.c.sequence.desc()).limit(1)
    ).scalar()
    return Taxonomy() if text is None else Taxonomy.model_validate_json(text)


def current_taxonomy(ledger: Ledger) -> Taxonomy:
    """The newest version; version 0 (empty, open) where none was saved yet."""
    with ledger.reading() as connection:
        return taxonomy_in(connection)


def taxonomy_version(ledger: Ledger, version: int) -> Taxonomy:
    """One version as it was saved.

    Raises:
        BadInput: there is no such version.
    """
    with ledger.reading() as connection:
        text = connection.execute(
            select(TAXONOMY_VERSION.c.taxonomy).where(TAXONOMY_VERSION.c.sequence == version)
        ).scalar()
    if text is None and version != 0:
        raise BadInput(f"There is no taxonomy version {version}.")
    return Taxonomy() if text is None else Taxonomy.model_validate_json(text)


def newest_with_names(ledger: Ledger, taxonomy: Taxonomy) -> Taxonomy:
    """The newest version whose classes in use are called as in ``taxonomy``, in the same order.

    It means the same, and also knows the names that a class had in between: after a rename and a rename back, what a
    model that was trained in between calls it.
    """
    with ledger.reading() as connection:
        query = select(TAXONOMY_VERSION.c.taxonomy).order_by(TAXONOMY_VERSION.c.sequence.desc())
        versions = map(Taxonomy.model_validate_json, connection.execute(query).scalars())
        return next((version for version in versions if version.names == taxonomy.names), taxonomy)


def save_taxonomy(ledger: Ledger, taxonomy: Taxonomy, who: str, why: str) -> Taxonomy:
    """Append the next version; saving the current one again changes nothing.

    Args:
        ledger: where.
        taxonomy: its ``version`` is the current one plus 1.
        who: who asked for it.
        why: one sentence for the auditor.

    Raises:
        Refused: the version does not follow the current one: somebody else saved one in between.
    """
    with ledger.writing() as connection:
        current = taxonomy_in(connection)
        if taxonomy == current:
            return current
        if taxonomy.version != current.version + 1:
            raise Refused(
                f"Taxonomy version {taxonomy.version} cannot follow version {current.version}.",
                cause="Somebody else saved a taxonomy in the meantime.",
                remedy="Read the current taxonomy and make the change again.",
            )
        _append(ledger, connection, taxonomy, who, why)
        return taxonomy


def change_taxonomy(ledger: Ledger, change: Callable[[Taxonomy, int], Taxonomy], who: str, why: str) -> Taxonomy:
    """Append what ``change`` makes of the current version, in one transaction with reading it.

    Args:
        ledger: where.
        change: from the current version and the number of label events to the next version, or the same one.
        who: who asked for it.
        why: one sentence for the auditor.

    Raises:
        BadInput: who or why is blank, or whatever ``change`` raises.
    """
    if not who.strip() or not why.strip():
        raise BadInput("A change of the taxonomy needs who decided and why.", remedy="Give --by NAME and --why TEXT.")
    with ledger.writing() as connection:
        current = taxonomy_in(connection)
        taxonomy = change(current, read_head(connection, LABEL_EVENT).sequence)
        if taxonomy != current:
            _append(ledger, connection, taxonomy, who, why)
        return taxonomy


def follow_profile(ledger: Ledger, classes: Sequence[TaxonomyClass], who: str) -> tuple[Taxonomy, tuple[str, ...]]:
    """Bring what a profile says of its classes into the ledger: see :func:`~.taxonomy_changes.described`.

    Returns:
        The taxonomy that holds now, and sentences that a person should read.

    Raises:
        BadInput: a name or alias of the profile already means another class.
    """
    current = current_taxonomy(ledger)
    changed, sentences = described(current, classes)
    if changed == current:
        return current, sentences
    taxonomy = change_taxonomy(
        ledger, lambda now_current, _: described(now_current, classes)[0], who, "as the profile says"
    )
    return taxonomy, sentences


def _append(ledger: Ledger, connection: Connection, taxonomy: Taxonomy, who: str, why: str) -> None:
    row = {
        "at": as_text(now()),
        "taxonomy": canonical_json(taxonomy.model_dump(mode="json")),
        "who": who,
        "why": why,
    }
    append_rows(connection, ledger.key, TAXONOMY_VERSION, [row])
