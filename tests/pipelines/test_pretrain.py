"""``pretrain``: what it may learn from, that it is done once, and what a training with its weights says."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from data_contracts.errors import BadInput
from data_contracts.workspace import Workspace
from domain_models import pretraining
from domain_models.model_card import read_card
from domain_models.pretrained_weights import read_record
from domain_models.training_data import UnlabelledImages
from pipelines.command_line.summaries_model import summarise_pretrain
from pipelines.definitions.reporting import as_json
from pipelines.steps import pretrain as step
from pipelines.steps.dataset import load_dataset
from pipelines.steps.pretrain import PretrainRequest, pretrain
from pipelines.steps.registry import open_registry
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import done
from tests.pipelines.test_unlabelled import clinic as clinic
from tests.pipelines.test_unlabelled import clinic_template as clinic_template

SETTINGS = ("backbone=test_resnet", "weights=none", "preprocessing.height=32", "preprocessing.width=32")
REQUEST = PretrainRequest(epochs=2, overrides=SETTINGS)


def test_it_learns_from_training_images_and_the_pool_and_never_from_what_is_measured(
    clinic: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[UnlabelledImages] = []
    learn = pretraining.pretrain

    def watched(images: UnlabelledImages, *more: object) -> object:
        seen.append(images)
        return learn(images, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(step, "learn", watched)
    report = pretrain(clinic, REQUEST)
    _, manifest = load_dataset(clinic)
    (images,) = seen
    rows = manifest.set_index("image_id").loc[list(images.image_ids)]
    assert set(rows["split"]) == {"train", "pool"}
    assert set(rows.index[rows["split"] == "train"]) == set(manifest.loc[manifest["split"] == "train", "image_id"])
    measured = manifest["split"].isin(["val", "test"])
    assert set(images.groups).isdisjoint(manifest.loc[measured, "component"])
    assert report.images == len(images)
    assert "Left out of the pool" in report.sentences[0]
    again = pretrain(clinic, REQUEST)
    assert len(seen) == 1
    assert again.model_dump(exclude={"reused", "seconds"}) == report.model_dump(exclude={"reused", "seconds"})
    assert (report.reused, again.reused) == (False, True)


@pytest.mark.slow
def test_a_training_with_the_weights_says_what_they_are_worth(curated: Path) -> None:
    workspace = Workspace(curated)
    report = as_json(pretrain(workspace, PretrainRequest(epochs=1, overrides=SETTINGS)))
    record = read_record(report["weights"])
    assert record is not None
    assert Path(report["weights"]).parent == workspace.pretrained
    assert (report["macro_f1_before"], report["macro_f1_after"]) == (record.gain.before, record.gain.after)
    assert report["helps"] == (report["difference_ci"][0] > 0)
    assert report["sentences"][-1] == record.gain.sentence
    console = Console(record=True, width=500, file=io.StringIO())
    summarise_pretrain(report, console)
    assert f"tailsight train --set weights={report['weights']}" in console.export_text()
    settings = ("epochs=0", "cross_fit_folds=0", *SETTINGS[2:], SETTINGS[0], f"weights={report['weights']}")
    trained = train(workspace, TrainRequest(preset="quick", overrides=settings))
    with open_registry(workspace) as registry:
        card = read_card(registry.package(trained.model_version))
    (said,) = [sentence for sentence in card.choices if sentence.startswith("Begins with ")]
    assert record.gain.sentence in said
    assert card.preprocessing.mean == record.mean


@pytest.mark.slow
def test_the_command_line_answers_with_one_object_and_makes_nothing_twice(curated: Path) -> None:
    words = ("pretrain", "--epochs", "1", *(word for one in SETTINGS for word in ("--set", one)))
    report, again = done(curated, *words), done(curated, *words)
    assert report["weights"].endswith(".safetensors")
    assert (report["reused"], again["reused"]) == (False, True)
    assert again["difference_ci"] == report["difference_ci"]


def test_requests_that_cannot_work_are_told_apart(curated_workspace: Path, tmp_path: Path) -> None:
    workspace = Workspace(Path(shutil.copytree(curated_workspace, tmp_path / "workspace")))
    with pytest.raises(BadInput, match="There is no pretraining 'moco'"):
        pretrain(workspace, PretrainRequest(method="moco"))
    with pytest.raises(BadInput, match="pretraining is about the plain backbone"):
        pretrain(workspace, PretrainRequest(overrides=(*SETTINGS, "attention=cbam")))
    with pytest.raises(BadInput, match="0 epochs would learn nothing"):
        pretrain(workspace, PretrainRequest(overrides=(*SETTINGS, "epochs=0")))
    with pytest.raises(BadInput, match="did you mean 'batch_size'"):
        pretrain(workspace, PretrainRequest(overrides=("batchsize=3",)))
    assert not workspace.pretrained.exists()
