"""Promotions that wait for a lead: the gate asks, a person answers, ``promote`` or a sensor carries it out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, insert, select

from data_contracts.errors import BadInput, NotFound, Refused
from data_contracts.ledger.chain import canonical_json, plain
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.instants import as_text, from_text, now
from data_contracts.ledger.tables import PROMOTION_EVENT
from data_contracts.ledger.tables_review import PROMOTION_APPROVAL, PROMOTION_REQUEST, ROLE_EVENT
from data_contracts.records import PromotionApproval, PromotionRequest
from data_contracts.vocabulary import Role


def request_promotion(
    ledger: Ledger, *, model_version: str, gate_report: Mapping[str, Any], who: str, why: str
) -> PromotionRequest:
    """Ask that a model version becomes champion; asking again while the request waits changes nothing.

    Args:
        ledger: where.
        model_version: the candidate.
        gate_report: what the gate said, with its reasons.
        who: who asks (a sensor, or a person).
        why: one sentence for the lead.
    """
    with ledger.writing() as connection:
        newest = (
            connection.execute(
                select(PROMOTION_REQUEST)
                .where(PROMOTION_REQUEST.c.model_version == model_version)
                .order_by(PROMOTION_REQUEST.c.sequence.desc())
                .limit(1)
            )
            .mappings()
            .first()
        )
        if newest is not None:
            answered = select(PROMOTION_APPROVAL.c.request).where(PROMOTION_APPROVAL.c.request == newest["sequence"])
            if connection.execute(answered).first() is None:
                return _request_of(newest)
        last = connection.execute(select(func.coalesce(func.max(PROMOTION_REQUEST.c.sequence), 0))).scalar_one()
        row = {
            "sequence": last + 1,
            "at": as_text(now()),
            "model_version": model_version,
            "gate_report": canonical_json(plain(gate_report)),
            "who": who,
            "why": why,
        }
        connection.execute(insert(PROMOTION_REQUEST).values(**row))
        return _request_of(row)


def approve(ledger: Ledger, who: str, request: int, *, approved: bool, why: str) -> PromotionApproval:
    """Record a lead's answer to a request; the first one counts.

    Raises:
        Refused: ``who`` is no lead, or the request was answered the other way already.
        NotFound: there is no such request.
        BadInput: ``why`` is blank.
    """
    if not why.strip():
        raise BadInput(
            "An approval says why.", remedy="Give one sentence for the auditor.", situation="approval_without_reason"
        )
    with ledger.writing() as connection:
        latest = select(ROLE_EVENT.c.role).where(ROLE_EVENT.c.who == who).order_by(ROLE_EVENT.c.sequence.desc())
        if connection.execute(latest.limit(1)).scalar() != Role.LEAD:
            raise Refused(
                f"{who} is no lead; only a lead approves a promotion.",
                remedy="Ask a lead.",
                situation="lead_needed",
                facts={"who": who},
            )
        asked = connection.execute(select(PROMOTION_REQUEST).where(PROMOTION_REQUEST.c.sequence == request))
        row = asked.mappings().first()
        if row is None:
            raise NotFound(f"There is no promotion request {request}.")
        here = select(PROMOTION_APPROVAL).where(PROMOTION_APPROVAL.c.request == request)
        known = connection.execute(here).mappings().first()
        if known is not None:
            if bool(known["approved"]) != approved:
                said = "approved" if known["approved"] else "declined"
                raise Refused(
                    f"The promotion of {row['model_version']} was {said} by {known['who']} already.",
                    remedy="Ask for the promotion anew, or roll back.",
                    situation="promotion_decided",
                    facts={"version": row["model_version"], "who": known["who"]},
                )
            return _approval_of(known)
        last = connection.execute(select(func.coalesce(func.max(PROMOTION_APPROVAL.c.sequence), 0))).scalar_one()
        answer = {
            "sequence": last + 1,
            "request": request,
            "at": as_text(now()),
            "model_version": row["model_version"],
            "who": who,
            "why": why,
            "approved": bool(approved),
        }
        connection.execute(insert(PROMOTION_APPROVAL).values(**answer))
        return _approval_of(answer)


def waiting_promotions(ledger: Ledger) -> list[PromotionRequest]:
    """Requests that nobody has answered, oldest first."""
    with ledger.reading() as connection:
        answered = select(PROMOTION_APPROVAL.c.request)
        query = select(PROMOTION_REQUEST).where(PROMOTION_REQUEST.c.sequence.not_in(answered))
        rows = connection.execute(query.order_by(PROMOTION_REQUEST.c.sequence)).mappings().all()
    return [_request_of(row) for row in rows]


def approved_promotions(ledger: Ledger) -> list[PromotionApproval]:
    """Approvals that were not carried out yet: no alias was moved to their version since."""
    with ledger.reading() as connection:
        query = select(PROMOTION_APPROVAL).where(PROMOTION_APPROVAL.c.approved.is_(True))
        rows = connection.execute(query.order_by(PROMOTION_APPROVAL.c.sequence)).mappings().all()
        moved = connection.execute(
            select(PROMOTION_EVENT.c.model_version, func.max(PROMOTION_EVENT.c.at)).group_by(
                PROMOTION_EVENT.c.model_version
            )
        ).all()
    last_move = {version: at for version, at in moved}  # noqa: C416  # rows are not pairs to the type checker
    return [_approval_of(row) for row in rows if last_move.get(row["model_version"], "") < row["at"]]


def _request_of(row: Any) -> PromotionRequest:
    values = {**row, "at": from_text(row["at"]), "gate_report": json.loads(row["gate_report"])}
    return PromotionRequest.model_validate(values)


def _approval_of(row: Any) -> PromotionApproval:
    return PromotionApproval.model_validate({**row, "at": from_text(row["at"])})
