"""Who may do what. The rules hold for whoever calls, not only for the buttons that a screen shows.

People are known from the roles that the ledger has kept of them. By default (names in local mode) somebody unknown
is a reader from their first task on, and whoever signs in first is lead. Where people sign in with accounts (OpenID
Connect), the first account that comes in sets ``UNKNOWN_PEOPLE`` to ``refused``: from then on only people whom somebody
has given a role may answer, and a role that a typed name got by itself opens no account's door.
"""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, from_text
from data_contracts.ledger.instants import now as this_moment
from data_contracts.ledger.tables_review import ROLE_EVENT, SETTING_EVENT
from data_contracts.review.choices import UNKNOWN_PEOPLE, choice_in
from data_contracts.review.records import Person
from data_contracts.vocabulary import Role

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

LOCAL = "local sign-in"
"""Who gave a role that nobody gave: the rule for people of whom nothing is known yet."""

ACCOUNTS = "sign-in with accounts"
"""Who gave the first lead's role, and closed the door to unknown people, where people sign in with accounts."""


def name_of(text: str) -> str:
    """A person's name as the ledger keeps it: without blanks around it, one between its parts.

    Raises:
        BadInput: it is empty, longer than 255, or has control characters.
    """
    name = " ".join(text.split(" ")).strip() if not _CONTROL.search(text) else ""
    name = re.sub(r" +", " ", name)
    if not name or len(name) > 255:
        raise BadInput(
            f"{text[:60]!r} is not a name.",
            remedy="Give a name of 1 to 255 letters, without line breaks.",
            situation="no_name",
        )
    return name


def sign_in(ledger: Ledger, who: str, *, now: datetime | None = None) -> Role:
    """The role of a person who comes in: kept if they have one; the first of all is lead, others are readers.

    Raises:
        BadInput: ``who`` is not a name.
        Refused: unknown people may not come in here.
    """
    name = name_of(who)
    with ledger.writing() as connection:
        at = now or this_moment()
        known = role_in(connection, name)
        if known is not None and (known == Role.LEAD or _leads(connection)):
            return known
        if known is None and choice_in(connection, UNKNOWN_PEOPLE) == "refused" and _leads(connection):
            raise _unknown(name)
        if not _leads(connection):
            _append(connection, name, Role.LEAD, LOCAL, at)
            return Role.LEAD
        return admit(connection, name, at)


def sign_in_account(ledger: Ledger, who: str, *, first_lead: str | None = None, now: datetime | None = None) -> Role:
    """The role of an account that the organisation's provider has vouched for, if somebody has given it one.

    Args:
        ledger: which knows the roles.
        who: the account.
        first_lead: the account that leads until the ledger says otherwise of it.
        now: the time of whatever this writes.

    Raises:
        BadInput: ``who`` is not a name.
        Refused: nobody has given this account a role.
    """
    name = name_of(who)
    with ledger.reading() as connection:  # nearly always nothing is to be written, and nobody has to wait
        given = _given_role(connection, name)
        if given is not None and choice_in(connection, UNKNOWN_PEOPLE) == "refused":
            return given
    with ledger.writing() as connection:
        at = now or this_moment()
        if choice_in(connection, UNKNOWN_PEOPLE) != "refused":
            last = connection.execute(select(func.coalesce(func.max(SETTING_EVENT.c.sequence), 0))).scalar_one()
            row = {"sequence": last + 1, "at": as_text(at), "who": ACCOUNTS, "name": UNKNOWN_PEOPLE, "value": "refused"}
            connection.execute(insert(SETTING_EVENT).values(**row))
        given = _given_role(connection, name)
        if given is None and name == first_lead:
            _append(connection, name, Role.LEAD, ACCOUNTS, at)
            return Role.LEAD
    if given is None:  # raised outside, so that what was written above stays
        raise _unknown(name)
    return given


def role_of(ledger: Ledger, who: str) -> Role | None:
    """A person's role; ``None`` for somebody unknown where unknown people may not answer."""
    with ledger.reading() as connection:
        known = role_in(connection, who)
        if known is None and choice_in(connection, UNKNOWN_PEOPLE) != "refused":
            return Role.READER
        return known


def require(ledger: Ledger, who: str, role: Role) -> None:
    """Pass if ``who`` has ``role`` or a wider one.

    Raises:
        Refused: they have not.
    """
    with ledger.reading() as connection:
        require_in(connection, who, role)


def set_role(ledger: Ledger, who: str, role: Role, *, by: str, now: datetime | None = None) -> None:
    """Give a person a role; only a lead may, except where there is no lead yet.

    Raises:
        Refused: ``by`` is no lead, or the last lead would be gone.
        BadInput: ``who`` is not a name.
    """
    name = name_of(who)
    with ledger.writing() as connection:
        leads = _leads(connection)
        if leads:
            require_in(connection, by, Role.LEAD)
        if leads == {name} and role != Role.LEAD:
            raise Refused(
                f"{name} is the only lead, and would not be any more.",
                remedy="Make somebody else lead first.",
                situation="only_lead",
                facts={"who": name},
            )
        if role_in(connection, name) != role or (by != LOCAL and _given_role(connection, name) is None):
            _append(connection, name, Role(role), by, now or this_moment())


def people(ledger: Ledger) -> list[Person]:
    """Everybody who has a role, by name."""
    with ledger.reading() as connection:
        rows = connection.execute(select(ROLE_EVENT).order_by(ROLE_EVENT.c.sequence)).all()
    since: dict[str, datetime] = {}
    latest: dict[str, Person] = {}
    for row in rows:
        since.setdefault(row.who, from_text(row.at))
        latest[row.who] = Person(who=row.who, role=Role(row.role), since=since[row.who], by=row.by)
    return [latest[who] for who in sorted(latest)]


def role_in(connection: Connection, who: str) -> Role | None:
    """The role that the ledger has kept of a person, within a transaction."""
    role = connection.execute(
        select(ROLE_EVENT.c.role).where(ROLE_EVENT.c.who == who).order_by(ROLE_EVENT.c.sequence.desc()).limit(1)
    ).scalar()
    return None if role is None else Role(role)


def _given_role(connection: Connection, who: str) -> Role | None:
    """The role that somebody has given a person; one that they got by typing their name does not count."""
    row = connection.execute(
        select(ROLE_EVENT.c.role, ROLE_EVENT.c.by)
        .where(ROLE_EVENT.c.who == who)
        .order_by(ROLE_EVENT.c.sequence.desc())
        .limit(1)
    ).first()
    return None if row is None or row.by == LOCAL else Role(row.role)


def require_in(connection: Connection, who: str, role: Role) -> None:
    """:func:`require` within a transaction."""
    known = role_in(connection, who)
    if known is None and choice_in(connection, UNKNOWN_PEOPLE) == "refused":
        raise _unknown(who)
    held = known or Role.READER
    if held.rank < role.rank:
        raise Refused(
            f"{who} is {held.value} here; this needs the role {role.value}.",
            remedy=f"Ask a lead to make {who} {role.value}.",
            situation="role_needed",
            facts={"who": who, "held": held.value, "role": role.value},
        )


def admit(connection: Connection, who: str, at: datetime) -> Role:
    """The role of somebody who is about to answer; unknown people become readers where that is allowed.

    Raises:
        Refused: unknown people may not answer here.
        BadInput: ``who`` is not a name.
    """
    known = role_in(connection, who)
    if known is not None:
        return known
    if name_of(who) != who:
        raise BadInput(f"{who!r} has blanks that a name does not have.", remedy=f"Give {name_of(who)!r}.")
    if choice_in(connection, UNKNOWN_PEOPLE) == "refused":
        raise _unknown(who)
    _append(connection, who, Role.READER, LOCAL, at)
    return Role.READER


def _append(connection: Connection, who: str, role: Role, by: str, at: datetime) -> None:
    last = connection.execute(select(func.coalesce(func.max(ROLE_EVENT.c.sequence), 0))).scalar_one()
    row = {"sequence": last + 1, "at": as_text(at), "who": who, "role": role.value, "by": by}
    connection.execute(insert(ROLE_EVENT).values(**row))


def _leads(connection: Connection) -> set[str]:
    rows = connection.execute(select(ROLE_EVENT.c.who, ROLE_EVENT.c.role).order_by(ROLE_EVENT.c.sequence)).all()
    latest = {who: role for who, role in rows}  # noqa: C416  # rows are not pairs to the type checker
    return {who for who, role in latest.items() if role == Role.LEAD}


def _unknown(who: str) -> Refused:
    return Refused(
        f"{who} has no role here.", remedy="Ask a lead to give you one.", situation="no_role", facts={"who": who}
    )
