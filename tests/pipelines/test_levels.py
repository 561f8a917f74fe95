"""Pass or fail first: a hierarchical loss and a limit on escapes, on a real workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.errors import BadInput, ProfileError
from data_contracts.workspace import Workspace
from domain_models.model_card import read_card
from pipelines.steps.evaluate import EvaluateRequest, evaluate
from pipelines.steps.registry import open_registry
from pipelines.steps.report import ReportRequest, write_report
from pipelines.steps.train import TrainRequest, train

HIERARCHICAL = (
    *("preprocessing.height=32", "preprocessing.width=32", "epochs=1", "frozen_stages=0", "cached_views=0"),
    *("cross_fit_folds=0", "loss=hierarchical"),
)


def set_in_profile(folder: Path, **settings: str) -> None:
    path = folder / "tailsight.yaml"
    text = path.read_text(encoding="utf-8")
    for name, value in settings.items():
        assert f"{name}: null" in text
        text = text.replace(f"{name}: null", f"{name}: {value}", 1)
    path.write_text(text, encoding="utf-8")


def test_a_model_learns_pass_or_fail_first_and_keeps_to_the_limit_on_escapes(curated: Path) -> None:
    set_in_profile(curated, pass_class="plain", escape_rate="0.3")
    workspace = Workspace(curated)
    trained = train(workspace, TrainRequest(preset="quick", overrides=HIERARCHICAL))
    with open_registry(workspace) as registry:
        card = read_card(registry.package(trained.model_version))
    assert card.classes == ("dots", "plain", "stripes")
    assert card.config["levels"] == [[0, 1, 0]]
    assert any("of bad parts pass" in sentence for sentence in trained.triage_sentences)
    found = evaluate(workspace, EvaluateRequest(model=trained.model_version)).as_one()
    assert found["pass_threshold"] == card.triage["passing"]["threshold"]
    assert 0 <= found["escape_rate_of_rule"] <= 1
    page = Path(write_report(workspace, ReportRequest(model=trained.model_version)).report).read_text(encoding="utf-8")
    assert "of the bad parts pass" in page


def test_a_taxonomy_with_one_level_is_refused_before_anything_is_trained(curated: Path) -> None:
    with pytest.raises(BadInput, match="needs levels above the classes") as refused:
        train(Workspace(curated), TrainRequest(preset="quick", overrides=HIERARCHICAL))
    assert "pass_class" in str(refused.value)
    assert not list(Workspace(curated).runs.glob("*"))


def test_a_limit_on_escapes_needs_a_class_to_pass_as(curated: Path) -> None:
    set_in_profile(curated, escape_rate="0.02")
    with pytest.raises(ProfileError, match="name the class that means 'good' in pass_class"):
        _ = Workspace(curated).profile
