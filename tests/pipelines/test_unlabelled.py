"""Which images without a label may teach, on a real workspace with patients, and a training that learns from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_contracts.errors import BadInput
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.records import NewLabelEvent
from data_contracts.set_aside import is_set_aside
from data_contracts.vocabulary import Action, Source
from data_contracts.workspace import Workspace
from domain_models.model_card import read_card
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.initialise import initialise
from pipelines.steps.learning_data import learning_data, with_sources
from pipelines.steps.registry import open_registry
from pipelines.steps.train import TrainRequest, plan, train
from pipelines.steps.unlabelled import unlabelled
from tests.pipelines.commands import CLASSES, texture
from tests.pipelines.picture_files import write_csv

SMALL = (
    *("backbone=test_resnet", "weights=none", "epochs=2", "probe=false", "cross_fit_folds=0", "batch_size=16"),
    *("preprocessing.height=32", "preprocessing.width=32", "pool.ratio=2", "pool.threshold=0.4"),
)
PATIENTS = 60


@pytest.fixture(scope="module")
def clinic_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 patients with 3 images each, of which two are labelled where the patient's number is even; read only."""
    folder = tmp_path_factory.mktemp("clinic")
    chance = np.random.default_rng(11)
    rows: list[tuple[str, str, str]] = []
    (folder / "images").mkdir()
    for patient in range(PATIENTS):
        kind = CLASSES[patient // 2 % 3]
        for number in range(3):
            name = f"p{patient:02}-{number}.png"
            Image.fromarray(texture(kind, chance)).save(folder / "images" / name)
            rows.append((name, kind if patient % 2 == 0 and number < 2 else "", f"patient-{patient:02}"))
    workspace = Workspace(folder / "workspace")
    initialise(workspace, "generic")
    labels = write_csv(folder / "labels.csv", [("image", "label", "patient"), *rows])
    ingest(workspace, IngestRequest(images=folder / "images", labels=labels, group_column="patient", who="tester"))
    curate(workspace)
    return folder


@pytest.fixture
def clinic(clinic_template: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A copy that a test may change; its images stay where they are."""
    return Workspace(Path(shutil.copytree(clinic_template / "workspace", tmp_path / "workspace")))


def in_parts(manifest: pd.DataFrame, *splits: str) -> set[str]:
    return set(manifest.loc[manifest["split"].isin(splits), "group"])


def test_no_image_of_a_validation_or_test_patient_or_of_one_that_was_set_aside_may_teach(clinic: Workspace) -> None:
    _, manifest = load_dataset(clinic)
    pool = manifest[manifest["split"] == "pool"]
    found = unlabelled(clinic, manifest)
    patients = set(found.rows["group"])
    measured, aside = in_parts(manifest, "val", "test"), {name for name in set(pool["group"]) if is_set_aside(name)}
    assert measured & set(pool["group"])  # there are such images, or nothing would be shown
    assert aside
    assert not patients & measured
    assert not patients & aside
    assert patients == set(pool["group"]) - measured - aside
    assert patients & in_parts(manifest, "train")  # further images of a patient that trains anyway do teach
    assert sum(found.left_out.values()) == len(pool) - len(found.rows)
    assert "of groups that were set aside for the test" in found.sentence


def test_an_image_that_somebody_marked_as_bad_teaches_no_more(clinic: Workspace) -> None:
    _, manifest = load_dataset(clinic)
    first = str(unlabelled(clinic, manifest).rows["image_id"].iloc[0])
    event = NewLabelEvent(who="reader", subject_id=first, action=Action.BAD_IMAGE, source=Source.READER)
    with Ledger.open(clinic) as ledger:
        append_events(ledger, [event])
    found = unlabelled(clinic, manifest)
    assert first not in set(found.rows["image_id"])
    assert found.left_out["marked as bad"] == 1


@pytest.mark.slow
def test_a_model_that_learned_from_images_without_a_label_says_so_and_saw_only_those(clinic: Workspace) -> None:
    dataset, manifest = load_dataset(clinic)
    request = TrainRequest(preset="quick", overrides=SMALL)
    config, _ = with_sources(clinic, dataset, manifest, plan(clinic, request, manifest, clinic.profile)[0])
    data = learning_data(clinic, dataset, manifest, config)
    assert data.pool is not None
    assert set(data.pool.image_ids) == set(unlabelled(clinic, manifest).rows["image_id"])
    assert set(data.pool.groups).isdisjoint(data.val.groups)
    trained = train(clinic, request)
    with open_registry(clinic) as registry:
        card = read_card(registry.package(trained.model_version))
    (said,) = [sentence for sentence in card.choices if sentence.startswith("FixMatch on")]
    assert f"{len(data.pool):,} images without a label" in said
    assert card.config["pool"]["content"] == config.pool.content != ""
    history = pd.read_csv(clinic.runs / trained.run_key / "history.csv")
    assert (history["pool_images"] > 0).all()
    assert history["pool_share_sure"].between(0, 1).all()
    again = train(clinic, request)
    assert (again.model_version, again.reused) == (trained.model_version, True)


def test_no_more_images_are_prepared_than_training_will_get_to_see(clinic: Workspace) -> None:
    dataset, manifest = load_dataset(clinic)
    few = manifest[(manifest["split"] != "train") | (manifest["image_id"] < "2")]  # some training images are gone
    request = TrainRequest(preset="quick", overrides=(*SMALL, "epochs=1", "pool.ratio=1"))
    config, said = with_sources(clinic, dataset, few, plan(clinic, request, few, clinic.profile)[0])
    data = learning_data(clinic, dataset, few, config)
    assert data.pool is not None
    assert len(data.pool) == (few["split"] == "train").sum() < len(unlabelled(clinic, few).rows)
    assert f"{len(data.pool)} of them are used" in said[0]


def test_a_pool_of_nothing_is_refused_before_any_work(curated: Path) -> None:
    with pytest.raises(BadInput, match="There are 0 images without a label"):
        train(Workspace(curated), TrainRequest(preset="quick", overrides=SMALL))
