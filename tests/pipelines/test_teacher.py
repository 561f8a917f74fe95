"""A registered model teaches the next one: found by alias, named by version, refused where its classes differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data_contracts.errors import BadInput, NotFound
from data_contracts.workspace import Workspace
from domain_models.model_card import CARD_FILE, read_card
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.learning_data import learning_data, with_sources
from pipelines.steps.registry import open_registry
from pipelines.steps.report import ReportRequest, write_report
from pipelines.steps.taxonomy import rename_class
from pipelines.steps.train import TrainRequest, plan, train

SMALL = (
    *("backbone=test_resnet", "weights=none", "epochs=1", "probe=false", "cross_fit_folds=0"),
    *("preprocessing.height=48", "preprocessing.width=48", "batch_size=16"),
)


def package_of(workspace: Workspace, version: str) -> Path:
    with open_registry(workspace) as registry:
        return registry.package(version)


@pytest.mark.slow
def test_the_card_and_the_report_say_who_taught_and_a_repeated_training_asks_nobody(promoted: Path) -> None:
    workspace = Workspace(promoted)
    request = TrainRequest(preset="quick", overrides=(*SMALL, "teacher.model=champion"))
    trained = train(workspace, request)
    card = read_card(package_of(workspace, trained.model_version))
    assert card.config["teacher"]["model"] == "1"
    assert any(one.startswith("Taught by model version 1 (tf_efficientnet_lite0 at 32×32 px)") for one in card.choices)
    page = Path(write_report(workspace, ReportRequest(model=trained.model_version)).report).read_text(encoding="utf-8")
    assert "Taught by" in page
    (kept,) = (workspace.cache / "activations").glob("teacher-*")
    assert len((kept / "rows.txt").read_text(encoding="utf-8").splitlines()) == 105  # the training images
    again = train(workspace, TrainRequest(preset="quick", overrides=(*SMALL, "teacher.model=1")))
    assert (again.model_version, again.reused) == (trained.model_version, True)


def test_a_teacher_that_does_not_exist_or_decides_for_other_classes_is_refused_before_any_work(
    promoted: Path, tmp_path: Path
) -> None:
    workspace = Workspace(promoted)
    with pytest.raises(NotFound, match="9"):
        train(workspace, TrainRequest(preset="quick", overrides=(*SMALL, "teacher.model=9")))
    stranger = Path(shutil.copytree(package_of(workspace, "1"), tmp_path / "stranger"))
    card = stranger / CARD_FILE
    card.write_text(card.read_text(encoding="utf-8").replace('"stripes"', '"scratches"'), encoding="utf-8")
    with pytest.raises(BadInput, match="does not know 'stripes' and it decides for 'scratches' as well"):
        train(workspace, TrainRequest(preset="quick", overrides=(*SMALL, f"teacher.model={stranger}")))


def test_a_teacher_from_before_a_class_was_renamed_teaches_it_by_its_new_name(promoted: Path) -> None:
    workspace = Workspace(promoted)
    rename_class(workspace, "dots", "specks", who="lead", why="agreed in the weekly meeting")
    curate(workspace)
    dataset, manifest = load_dataset(workspace)
    assert set(dataset.taxonomy.names) == {"specks", "plain", "stripes"}
    config, _ = plan(workspace, TrainRequest(overrides=(*SMALL, "teacher.model=1")), manifest, workspace.profile)
    config, _ = with_sources(workspace, dataset, manifest, config)
    data = learning_data(workspace, dataset, manifest, config)
    assert data.teacher_logits is not None
    # a linear classifier that was fitted to these images: right about nearly all, if its columns mean what they say
    assert (data.teacher_logits.argmax(axis=1) == data.train.labels).mean() > 0.9
