"""What a lead has chosen for everybody: kept as events, so that an auditor sees who changed what, and when."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.tables_review import ROLE_EVENT, SETTING_EVENT
from data_contracts.vocabulary import Role

UNKNOWN_PEOPLE = "unknown_people"
PERSONAL_FIGURES = "personal_figures"

CHOICES: dict[str, tuple[str, ...]] = {
    UNKNOWN_PEOPLE: ("readers", "refused"),
    PERSONAL_FIGURES: ("own", "leads"),
}
"""Every choice with its values, the default first.

``unknown_people``: whether somebody unknown may answer as a reader. ``personal_figures``: whether a person's pace and
override rate are visible to that person only, or to leads as well.
"""


def choice_in(connection: Connection, name: str) -> str:
    """The value that holds, within a transaction."""
    value = connection.execute(
        select(SETTING_EVENT.c.value)
        .where(SETTING_EVENT.c.name == name)
        .order_by(SETTING_EVENT.c.sequence.desc())
        .limit(1)
    ).scalar()
    return CHOICES[name][0] if value is None else value


def choice(ledger: Ledger, name: str) -> str:
    """The value of a choice that holds.

    Raises:
        BadInput: there is no such choice.
    """
    _require_known(name)
    with ledger.reading() as connection:
        return choice_in(connection, name)


def choose(ledger: Ledger, who: str, name: str, value: str, *, now: datetime | None = None) -> None:
    """Change a choice; only a lead may. Choosing what holds already is no event.

    Raises:
        BadInput: there is no such choice, or no such value.
        Refused: ``who`` is no lead.
    """
    _require_known(name)
    if value not in CHOICES[name]:
        raise BadInput(f"{value!r} is no value of {name!r}.", remedy=f"Values: {', '.join(CHOICES[name])}.")
    with ledger.writing() as connection:
        role = connection.execute(
            select(ROLE_EVENT.c.role).where(ROLE_EVENT.c.who == who).order_by(ROLE_EVENT.c.sequence.desc()).limit(1)
        ).scalar()
        if role != Role.LEAD:
            raise Refused(
                f"{who} is no lead; only a lead may change {name!r}.",
                remedy="Ask a lead.",
                situation="lead_needed",
                facts={"who": who},
            )
        if choice_in(connection, name) == value:
            return
        last = connection.execute(select(func.coalesce(func.max(SETTING_EVENT.c.sequence), 0))).scalar_one()
        row = {"sequence": last + 1, "at": as_text(now or this_moment()), "who": who, "name": name, "value": value}
        connection.execute(insert(SETTING_EVENT).values(**row))


def _require_known(name: str) -> None:
    if name not in CHOICES:
        raise BadInput(f"There is no choice {name!r}.", remedy=f"Known: {', '.join(CHOICES)}.")
