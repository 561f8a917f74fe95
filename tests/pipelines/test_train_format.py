"""A training on a real workspace in the number format that is faster here: on its card, said, and the same again."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.workspace import Workspace
from domain_models import training_format
from domain_models.model_card import read_card
from domain_models.training_format import TrainingRates
from pipelines.steps.registry import open_registry
from pipelines.steps.train import TrainRequest, train

REQUEST = TrainRequest(
    preset="quick",
    overrides=(
        *("preprocessing.height=32", "preprocessing.width=32", "epochs=1"),
        *("frozen_stages=0", "cached_views=0", "cross_fit_folds=0"),
    ),
)


@pytest.mark.skipif(not training_format.computes_bf16(), reason="this processor has no bf16, and imitating it is slow")
def test_what_learns_faster_in_16_bits_does_so_and_its_card_says_it(
    curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(curated)
    monkeypatch.setattr(training_format, "FEWEST_STEPS", 1)
    monkeypatch.setattr(training_format, "computes_bf16", lambda: True)
    monkeypatch.setattr(training_format, "training_rates", lambda *_: TrainingRates(fp32=40, bf16=60))
    fastest = REQUEST.model_copy(update={"overrides": (*REQUEST.overrides, "precision=fastest")})
    report = train(workspace, fastest)
    assert any("16-bit floats" in sentence for sentence in report.choices)
    with open_registry(workspace) as registry:
        card = read_card(registry.package(report.model_version))
    assert card.config["precision"] == "bf16"

    monkeypatch.setattr(training_format, "training_rates", lambda *_: pytest.fail("measured twice"))
    again = train(workspace, fastest)
    assert (again.model_version, again.reused) == (report.model_version, True)

    usual = train(workspace, REQUEST)
    assert usual.model_version != report.model_version
    assert not any("16-bit floats" in sentence for sentence in usual.choices)
