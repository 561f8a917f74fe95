"""Training with the preset ``auto`` on a real workspace."""

from __future__ import annotations

from pathlib import Path

from data_contracts.workspace import Workspace
from pipelines.steps.train import TrainRequest, train

SMALL = (
    *("preprocessing.height=32", "preprocessing.width=32", "epochs=1"),
    *("frozen_stages=0", "cached_views=0", "cross_fit_folds=0"),
)


def test_auto_tries_settings_says_so_and_repeats_nothing(curated: Path) -> None:
    workspace, request = Workspace(curated), TrainRequest(preset="auto", minutes=0.01, overrides=SMALL)
    report = train(workspace, request)
    assert report.preset == "auto"
    (said,) = [sentence for sentence in report.choices if "tried in" in sentence]
    assert said.startswith("1 configuration was tried")
    assert said.endswith("that is the best.")
    assert len(list(workspace.runs.glob("search-*/study.jsonl"))) == 1
    again = train(workspace, request)
    assert (again.model_version, again.reused) == (report.model_version, True)
    assert again.choices == report.choices
