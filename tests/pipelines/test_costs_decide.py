"""Where the profile says what mistakes cost, the class that is expected to cost least is what people and files get."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from data_contracts.profile import ConfusionCost, Profile
from data_contracts.review.tasks import task, tasks_frame
from data_contracts.vocabulary import DecideBy
from data_contracts.workspace import Workspace
from domain_models.decision_costs import EQUAL_COSTS, cheapest, cost_matrix
from domain_models.model_card import read_card
from pipelines.steps.evaluate import EvaluateRequest, evaluate
from pipelines.steps.ledger import open_ledger
from pipelines.steps.promote import GateRefused, PromoteRequest, promote
from pipelines.steps.queue import QueueRequest, build_queue
from pipelines.steps.registry import open_registry
from pipelines.steps.score import ScoreRequest, score
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import CLASSES, TINY_SETTINGS

COSTS = (
    ConfusionCost(actual="stripes", predicted="plain", cost=5000),
    ConfusionCost(actual="dots", predicted="plain", cost=5000),
)
LINES = "decide_by: cost\ncosts:\n" + "".join(
    f"  - {{actual: {one.actual}, predicted: {one.predicted}, cost: {one.cost:g}}}\n" for one in COSTS
)


@pytest.fixture
def costly(curated: Path) -> Workspace:
    """A workspace whose profile says that calling something plain is dear, and a model trained under it."""
    workspace = Workspace(curated)
    text = workspace.profile_path.read_text(encoding="utf-8")
    kept = "\n".join(line for line in text.splitlines() if not line.startswith(("costs:", "decide_by:")))
    workspace.profile_path.write_text(f"{kept}\n{LINES}", encoding="utf-8")
    report = train(workspace, TrainRequest(preset="quick", overrides=TINY_SETTINGS))
    assert any("expected to cost least" in choice for choice in report.choices)
    return workspace


def test_costs_decide_in_scores_figures_and_the_queue(costly: Workspace, new_images: Path, tmp_path: Path) -> None:
    table = cost_matrix(CLASSES, COSTS)
    with open_registry(costly) as registry:
        card = read_card(registry.package("1"))
    assert np.allclose(np.asarray(card.decision_costs.table), table)

    figures = evaluate(costly, EvaluateRequest(model="1")).figures
    assert figures.mean_cost == pytest.approx(figures.mean_cost_of_cheapest)

    out = tmp_path / "batch.parquet"
    score(costly, ScoreRequest(images=str(new_images), out=out, model="1"))
    scores = pd.read_parquet(out)
    scores = scores[scores["error"].isna()].reset_index(drop=True)
    told = scores[[f"prob_{name}" for name in CLASSES]].to_numpy()
    named = cheapest(told, table)
    assert scores["predicted"].tolist() == [CLASSES[index] for index in named]
    assert (named != told.argmax(axis=1)).any(), "costs that change nothing would test nothing"
    np.testing.assert_allclose(scores["confidence"], told[np.arange(len(told)), named], atol=1e-6)
    assert all(name in members for name, members in zip(scores["predicted"], scores["conformal_set"], strict=True))
    unlikely = named != told.argmax(axis=1)
    assert (scores.loc[unlikely, "decision"] == "review").all()

    build_queue(costly, QueueRequest(scores=(out,), model="1"))
    said = dict(zip(scores["image_id"], scores["predicted"], strict=True))
    sure = dict(zip(scores["image_id"], scores["confidence"], strict=True))
    with open_ledger(costly) as ledger:
        tasks = [task(ledger, task_id) for task_id in tasks_frame(ledger)["task_id"]]
    asked = [one for one in tasks if one.subject_id in said]
    assert {one.subject_id for one in asked} & set(scores.loc[unlikely, "image_id"])
    for one in asked:
        assert one.predicted == one.class_a == said[one.subject_id]
        assert one.confidence == pytest.approx(sure[one.subject_id], abs=1e-5)
        assert one.class_b != one.class_a


def test_the_gate_compares_costs(costly: Workspace) -> None:
    first = promote(costly, PromoteRequest(version="1", who="me", why="first"))
    assert first.gate is not None
    assert [check["rule"] for check in first.gate["checks"]] == ["mean_cost", "calibration", "lineage"]
    train(costly, TrainRequest(preset="quick", overrides=TINY_SETTINGS, seed=5))
    try:
        second = promote(costly, PromoteRequest(version="2", who="me", why="newer"))
    except GateRefused as refusal:
        second = refusal.report
    assert second.gate is not None
    (compared,) = [check for check in second.gate["checks"] if check["rule"] == "mean_cost"]
    figures = [evaluate(costly, EvaluateRequest(model=version)).figures for version in ("1", "2")]
    costs = [figure.mean_cost for figure in figures]
    confusion = np.asarray(figures[0].confusion)
    scale = (confusion.sum(axis=1) @ cost_matrix(CLASSES, COSTS)).min() / confusion.sum()
    assert compared["value"] == pytest.approx((costs[1] - costs[0]) / scale)


def test_costs_that_nobody_asked_to_decide_by_only_inform(curated: Path) -> None:
    workspace = Workspace(curated)
    assert workspace.profile.decide_by is DecideBy.BALANCE
    assert '"decide_by"' not in json.dumps(workspace.profile.model_dump(mode="json", exclude_defaults=True))
    with pytest.raises(ValidationError, match="say under costs what mistakes cost"):
        Profile(name="x", decide_by=DecideBy.COST)
    plain, informed = Profile(name="x"), Profile(name="x", decide_by=DecideBy.COST, costs=COSTS)
    before = plain.model_dump(mode="json", exclude={"sinks": True, "decide_by": True, "gate": {"cost_margin"}})
    assert plain.content_hash == hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest(), (
        "a profile from before there was a choice means what it meant"
    )
    assert informed.content_hash != informed.model_copy(update={"decide_by": DecideBy.BALANCE}).content_hash


def test_a_model_of_before_predicts_what_it_always_did(promoted: Path) -> None:
    with open_registry(Workspace(promoted)) as registry:
        package = registry.package("1")
        path = package / "model.json"
        content = path.read_text(encoding="utf-8")
    assert '"decision_costs"' in content
    old = read_card(package).model_dump(mode="json")
    del old["decision_costs"]
    assert type(read_card(package)).model_validate(old).decision_costs == EQUAL_COSTS
