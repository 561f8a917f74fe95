"""Moving the alias champion: through the gate, recorded first, undone by rollback.

The ledger is the truth. A promotion is written there, then the registry's alias moves; a process killed in between is
put right by whichever command opens the registry next (:mod:`pipelines.steps.registry`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.approvals import request_promotion
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.promotions import promotions, record_look, record_promotion
from data_contracts.progress import SILENT, Progress
from data_contracts.records import PromotionEvent
from data_contracts.vocabulary import Alias, DecideBy, Split
from data_contracts.workspace import Workspace
from domain_models.decision_costs import cost_matrix
from domain_models.gate import GateDecision, PairedPredictions, judge
from domain_models.model_card import read_card
from domain_models.tracking import Registry
from pipelines.steps.dataset import load_dataset
from pipelines.steps.ledger import open_ledger
from pipelines.steps.model_classes import indistinct
from pipelines.steps.predictions import joined, joined_costs, predict_split
from pipelines.steps.registry import ROLLBACK, champions, open_registry

LOCK = "promote"
LOCK_SECONDS = 60.0


class PromoteRequest(BaseModel):
    """Who asks for which version (``None``: the candidate), why, and whether they overrule the gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: str
    why: str
    version: str | None = None
    override: bool = False
    seed: int = Field(default=0, ge=0)


class PromoteReport(BaseModel):
    """What the gate said and what followed. ``override`` is true where the gate refused and a person went on."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    previous: str | None
    promoted: bool
    already_champion: bool
    passed: bool
    override: bool
    dataset_version: str | None
    reasons: list[str]
    not_gated: list[str]
    gate: dict[str, Any] | None


class RollbackReport(BaseModel):
    """Which version is champion again, and which one was."""

    model_config = ConfigDict(frozen=True)

    model_version: str
    previous: str


class GateRefused(Refused):
    """The gate said no; ``report`` says why."""

    def __init__(self, report: PromoteReport) -> None:
        self.report = report
        super().__init__(
            f"The gate refuses model version {report.model_version}: " + " ".join(report.reasons),
            remedy="Improve the model, or take the responsibility with --override --why REASON.",
        )


def promote(workspace: Workspace, request: PromoteRequest, progress: Progress = SILENT) -> PromoteReport:
    """Re-score candidate and champion on the newest test edition, ask the gate, record the look, move the alias.

    Raises:
        GateRefused: the gate said no and nobody overruled it.
        NotFound: there is no such version, no candidate, or no dataset version.
        BadInput: who or why is blank.
    """
    return _ask_the_gate(workspace, request, progress, move=True)


def ask_for_promotion(workspace: Workspace, request: PromoteRequest, progress: Progress = SILENT) -> PromoteReport:
    """Ask the gate as :func:`promote` does, and leave the alias to a lead: where the gate agrees, a request waits.

    Raises:
        GateRefused, NotFound, BadInput: as :func:`promote`.
    """
    return _ask_the_gate(workspace, request, progress, move=False)


def rollback(workspace: Workspace, *, who: str, why: str) -> RollbackReport:
    """Give the alias champion back to the version that had it before.

    Raises:
        BadInput: who or why is blank.
        Refused: there is no champion, or none before it.
    """
    with (
        workspace.lock(LOCK, wait_seconds=LOCK_SECONDS),
        open_registry(workspace) as registry,
        open_ledger(workspace) as ledger,
    ):
        stack = champions(promotions(ledger))
        if len(stack) < 2:
            raise Refused(
                "There is no previous champion to go back to.",
                cause="No model was promoted yet." if not stack else f"Version {stack[0]} is the first champion.",
                remedy="See `tailsight models`.",
            )
        current, before = stack[-1], stack[-2]
        registry.package(before)
        record_promotion(
            ledger,
            model_version=before,
            to_alias=Alias.CHAMPION,
            from_alias=None,
            previous_version=current,
            who=who,
            why=why,
            override=False,
            gate_report={"action": ROLLBACK, "from": current},
        )
        registry.set_alias(Alias.CHAMPION, before)
    return RollbackReport(model_version=before, previous=current)


def _ask_the_gate(workspace: Workspace, request: PromoteRequest, progress: Progress, *, move: bool) -> PromoteReport:
    """Judge, record the look, and then move the alias or leave a request for a lead."""
    if not request.who.strip() or not request.why.strip():
        raise BadInput("A promotion needs who decided and why.", remedy="Give --by NAME and --why TEXT.")
    with (
        workspace.lock(LOCK, wait_seconds=LOCK_SECONDS),
        open_registry(workspace) as registry,
        open_ledger(workspace) as ledger,
    ):
        version = registry.resolve(request.version or Alias.CANDIDATE.value)
        champion = registry.alias(Alias.CHAMPION)
        if version == champion:
            return _already(version, promotions(ledger))
        decision, dataset_version = _looked(workspace, registry, ledger, version, champion, request.seed, progress)
        promoted = move and (decision.passed or request.override)
        report = _report(decision, version, champion, dataset_version, promoted=promoted)
        if not (promoted or decision.passed):
            raise GateRefused(report)
        gate_report = {"dataset_version": dataset_version, **decision.model_dump(mode="json")}
        if not move:
            request_promotion(ledger, model_version=version, gate_report=gate_report, who=request.who, why=request.why)
            return report
        record_promotion(
            ledger,
            model_version=version,
            to_alias=Alias.CHAMPION,
            from_alias=Alias.CANDIDATE if registry.alias(Alias.CANDIDATE) == version else None,
            previous_version=champion,
            who=request.who,
            why=request.why,
            override=report.override,
            gate_report={"action": "promote", **gate_report},
        )
        registry.set_alias(Alias.CHAMPION, version)
    return report


def _looked(
    workspace: Workspace,
    registry: Registry,
    ledger: Ledger,
    version: str,
    champion: str | None,
    seed: int,
    progress: Progress,
) -> tuple[GateDecision, str]:
    """The gate's decision and the dataset version it looked at; the look is recorded."""
    registry.package(version)  # whole and unchanged, or nobody's champion
    decision, dataset_version = _judge(workspace, registry, version, champion, seed, progress)
    record_look(
        ledger,
        model_version=version,
        against=champion,
        dataset_version=dataset_version,
        passed=decision.passed,
        report=decision.model_dump(mode="json"),
    )
    return decision, dataset_version


def _report(
    decision: GateDecision, version: str, champion: str | None, dataset_version: str, *, promoted: bool
) -> PromoteReport:
    return PromoteReport(
        model_version=version,
        previous=champion,
        promoted=promoted,
        already_champion=False,
        passed=decision.passed,
        override=promoted and not decision.passed,
        dataset_version=dataset_version,
        reasons=list(decision.reasons),
        not_gated=list(decision.not_gated),
        gate=decision.model_dump(mode="json"),
    )


def _already(version: str, history: Sequence[PromotionEvent]) -> PromoteReport:
    """What was recorded when it became champion, so that an override stays visible."""
    overridden = any(event.override for event in history if event.model_version == version)
    return PromoteReport(
        model_version=version,
        previous=version,
        promoted=True,
        already_champion=True,
        passed=not overridden,
        override=overridden,
        dataset_version=None,
        reasons=[f"Model version {version} is the champion already; nothing was recorded."],
        not_gated=[],
        gate=None,
    )


def _judge(
    workspace: Workspace, registry: Registry, version: str, champion: str | None, seed: int, progress: Progress
) -> tuple[GateDecision, str]:
    dataset, manifest = load_dataset(workspace)
    own = predict_split(workspace, registry, version, dataset, manifest, Split.TEST, progress)
    other = None
    if champion is not None:
        other = predict_split(workspace, registry, champion, dataset, manifest, Split.TEST, progress)
    card = read_card(registry.package(version))
    lineage = {
        "dataset_version": card.dataset_version,
        "taxonomy_version": card.taxonomy_version,
        "profile_hash": card.profile_hash,
        "run_key": registry.info(version).run_key,
    }
    profile = workspace.profile.under(dataset.taxonomy)
    costs = cost_matrix(own.classes, profile.costs) if profile.decide_by is DecideBy.COST else None
    remarks: list[str] = []
    if champion is not None and other is not None:
        before = read_card(registry.package(champion))
        if together := indistinct(before.classes, before.taxonomy_version, dataset.taxonomy):
            costs = None if costs is None else joined_costs(costs, own.classes, together)
            own, other = joined(own, together), joined(other, together)
            remarks = [
                f"{' + '.join(group)} were one class when the champion was trained, and are compared as one; how well "
                "the candidate tells them apart is in its evaluation."
                for group in together
            ]
    with progress.step("Asking the gate"):
        decision = judge(
            PairedPredictions(version, own.probabilities, lineage, own.predicted),
            PairedPredictions(champion, other.probabilities, predicted=other.predicted)
            if champion is not None and other is not None
            else None,
            own.labels,
            own.components,
            own.classes,
            profile.gate,
            costs=costs,
            seed=seed,
        )
    return decision.model_copy(update={"reasons": (*decision.reasons, *remarks)}), dataset.dataset_version
