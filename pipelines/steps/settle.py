"""After a retraining nobody watched: the gate is asked, and the candidate is promoted, waits for a lead, or stays."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from data_contracts.ledger.approvals import approved_promotions
from data_contracts.progress import SILENT, Progress
from data_contracts.vocabulary import Promotion
from data_contracts.workspace import Workspace
from pipelines.steps.ledger import open_ledger
from pipelines.steps.promote import GateRefused, PromoteReport, PromoteRequest, ask_for_promotion, promote

WHO = "tailsight"
"""Who asks where no person did."""


class Outcome(StrEnum):
    """What became of a candidate."""

    NOTHING_NEW = "nothing_new"
    PROMOTED = "promoted"
    WAITS_FOR_A_LEAD = "waits_for_a_lead"
    REFUSED = "refused"


class Settled(BaseModel):
    """What became of the candidate of a retraining, and the gate's reasons."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    model_version: str | None
    champion: str | None
    reasons: list[str]


def settle(workspace: Workspace, version: str | None, why: str, progress: Progress = SILENT) -> Settled:
    """Ask the gate about ``version``; a refusal is an outcome, not an error: the champion goes on serving.

    Args:
        workspace: its profile says whether the gate alone may promote.
        version: the candidate; ``None`` where retraining found nothing to learn.
        why: what started the retraining; recorded.
        progress: told of each step.
    """
    if version is None:
        return Settled(outcome=Outcome.NOTHING_NEW, model_version=None, champion=None, reasons=[why])
    request = PromoteRequest(who=WHO, why=why, version=version)
    automatic = workspace.profile.promotion is Promotion.AUTOMATIC
    try:
        report = (promote if automatic else ask_for_promotion)(workspace, request, progress)
    except GateRefused as refusal:
        return _settled(Outcome.REFUSED, refusal.report)
    promoted = automatic or report.already_champion
    return _settled(Outcome.PROMOTED if promoted else Outcome.WAITS_FOR_A_LEAD, report)


def carry_out_approvals(
    workspace: Workspace, requests: Sequence[int] | None = None, progress: Progress = SILENT
) -> list[Settled]:
    """Promote what leads have approved, through the gate once more: the test edition may have grown meanwhile.

    Args:
        workspace: whose ledger.
        requests: numbers of the promotion requests to carry out; ``None`` for all that are approved.
        progress: told of each step.
    """
    with open_ledger(workspace) as ledger:
        approvals = [a for a in approved_promotions(ledger) if requests is None or a.request in requests]
    done = []
    for approval in approvals:
        request = PromoteRequest(who=approval.who, why=approval.why, version=approval.model_version)
        try:
            done.append(_settled(Outcome.PROMOTED, promote(workspace, request, progress)))
        except GateRefused as refusal:
            done.append(_settled(Outcome.REFUSED, refusal.report))
    return done


def _settled(outcome: Outcome, report: PromoteReport) -> Settled:
    champion = report.model_version if outcome is Outcome.PROMOTED else report.previous
    return Settled(outcome=outcome, model_version=report.model_version, champion=champion, reasons=list(report.reasons))
