"""From corrections to a candidate: what is learned, from which champion, once only, and whole after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_contracts.errors import BadInput, NotFound
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.profile import shipped_profile_text
from data_contracts.records import NewLabelEvent, PromotionEvent
from data_contracts.vocabulary import Action, Alias, Source, Split
from data_contracts.workspace import Workspace
from domain_models.model_card import ModelCard, RetrainedFrom, read_card
from domain_models.tracking import Registry
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.evaluate import EvaluateRequest, evaluate
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.models import list_models
from pipelines.steps.predictions import predict_split
from pipelines.steps.promote import GateRefused, PromoteReport, PromoteRequest, promote
from pipelines.steps.registry import open_registry
from pipelines.steps.report import ReportRequest, write_report
from pipelines.steps.report_gain import predecessor
from pipelines.steps.retrain import RetrainReport, RetrainRequest, retrain
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import TAILSIGHT, done, make_images, texture

SMALL = (
    *("backbone=test_resnet", "weights=none", "epochs=6", "learning_rate=0.002", "probe=false", "dropout=0"),
    *("preprocessing.height=32", "preprocessing.width=32", "cross_fit_folds=0", "batch_size=8"),
)


@pytest.fixture(scope="module")
def first_champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a small fine-tuned champion; read only."""
    folder = tmp_path_factory.mktemp("retrain") / "workspace"
    folder.mkdir()
    (folder / "tailsight.yaml").write_text(shipped_profile_text("generic"), encoding="utf-8")
    workspace = Workspace(folder)
    ingest(workspace, IngestRequest(images=make_images(folder.parent / "images"), who="tester"))
    curate(workspace)
    train(workspace, TrainRequest(preset="quick", overrides=SMALL))
    promote(workspace, PromoteRequest(who="tester", why="first model"))
    return folder


@pytest.fixture
def site(first_champion: Path, tmp_path: Path) -> Workspace:
    """A copy that a test may change."""
    return Workspace(Path(shutil.copytree(first_champion, tmp_path / "workspace")))


def correct(workspace: Workspace, count: int, split: Split = Split.TRAIN) -> list[str]:
    """Readers find ``count`` plain images to be dots."""
    _, manifest = load_dataset(workspace)
    rows = manifest[(manifest["split"] == split.value) & (manifest["label"] == "plain")].sort_values("image_id")
    ids = list(rows["image_id"][:count])
    events = [
        NewLabelEvent(who="ann", subject_id=i, action=Action.CORRECT, label="dots", source=Source.READER) for i in ids
    ]
    with Ledger.open(workspace) as ledger:
        append_events(ledger, events)
    return ids


def add(workspace: Workspace, per_class: int, seed: int = 50) -> None:
    """New labelled images arrive."""
    folder = make_images(workspace.folder.parent / f"new-{seed}", per_class=per_class, seed=seed)
    ingest(workspace, IngestRequest(images=folder, who="tester"))


def add_class(workspace: Workspace, count: int) -> None:
    """Images of a class that nobody has heard of: stripes turned by 90 degrees, and bright."""
    folder = workspace.folder.parent / "bars" / "bars"
    folder.mkdir(parents=True)
    chance = np.random.default_rng(8)
    for number in range(count):
        pixels = np.clip(texture("stripes", chance).T.astype(int) + 60, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"bars-{number:03d}.png")
    ingest(workspace, IngestRequest(images=folder.parent, who="tester", allow_new_classes=True))


def versions(workspace: Workspace) -> list[str]:
    return [entry.version for entry in list_models(workspace).versions]


def card_of(workspace: Workspace, version: str) -> ModelCard:
    with Registry.open(workspace.mlflow) as registry:
        return read_card(registry.package(version))


def looked_at(workspace: Workspace, version: str) -> PromoteReport:
    """What the gate says, whatever it says."""
    try:
        return promote(workspace, PromoteRequest(who="tester", why="newer", version=version))
    except GateRefused as refusal:
        return refusal.report


def learned(workspace: Workspace, mode: str = "incremental") -> RetrainReport:
    return retrain(workspace, RetrainRequest(mode=mode))


def test_nothing_new_says_so_and_does_nothing(site: Workspace) -> None:
    before = sorted(path.name for path in site.runs.iterdir())
    for mode in ("auto", "incremental"):
        report = learned(site, mode)
        assert (report.mode, report.model_version, report.candidate) == (None, None, None)
        assert report.reasons == [
            "Nothing new to learn since model version 1: no label of a training or validation image was added,"
            " corrected or taken away."
        ]
        assert report.changes is not None
        assert report.changes.train.changed == 0
    correct(site, 2, Split.TEST)
    assert "(2 test images changed)" in learned(site).reasons[0]
    assert versions(site) == ["1"]
    assert sorted(path.name for path in site.runs.iterdir()) == before


def test_corrections_and_new_labels_make_a_candidate_whose_lineage_names_champion_and_data(site: Workspace) -> None:
    corrected = correct(site, 4)
    add(site, 8)
    report = learned(site, "auto")
    assert report.mode == "incremental"
    assert "the champion is a good place to go on from" in report.reasons[0]
    assert report.changes is not None
    assert report.changes.train.corrected == len(corrected)
    assert report.changes.train.new + report.changes.val.new + report.changes.test.new == 24
    assert (report.model_version, report.reused, report.champion) == ("2", False, "1")
    assert report.replayed == report.changes.train.unchanged
    card, first = card_of(site, "2"), card_of(site, "1")
    assert card.parents == ("1",)
    assert card.dataset_version == report.dataset_version != report.champion_dataset_version
    origin = card.retrained_from
    assert origin is not None
    assert (origin.champion, origin.champion_dataset_version) == ("1", first.dataset_version)
    assert (origin.corrected, origin.new) == (4, report.changes.train.new)
    assert (origin.last_full_at, origin.full_preset) == (first.created_at, "quick")
    assert card.preset == "incremental"
    assert card.triage.keys() == first.triage.keys()
    with open_registry(site) as registry:
        assert registry.alias(Alias.CANDIDATE) == "2"
        assert registry.info("2").tags["retrained_from.champion"] == "1"
    gate = looked_at(site, "2")
    assert gate.gate is not None
    assert (gate.gate["candidate"], gate.gate["champion"]) == ("2", "1")
    assert next(check for check in gate.gate["checks"] if check["rule"] == "lineage")["passed"]
    _the_report_says_what_was_gained(site, report)


def _the_report_says_what_was_gained(site: Workspace, retrained: RetrainReport) -> None:
    told = write_report(site, ReportRequest(model="2"))
    found, changes = told.learned, retrained.changes
    assert found is not None
    assert changes is not None
    assert (found.predecessor, found.corrected) == ("1", 4)
    assert found.new == changes.train.new + changes.val.new
    figures = [evaluate(site, EvaluateRequest(model=one)).figures for one in ("1", "2")]
    assert found.macro_f1_gained == pytest.approx(figures[1].macro_f1 - figures[0].macro_f1)
    assert found.macro_f1_gained_ci is not None
    assert found.macro_f1_gained_ci[0] <= found.macro_f1_gained <= found.macro_f1_gained_ci[1]
    assert [(one.name, one.corrected_to, one.corrected_away) for one in found.classes] == [
        ("dots", 4, 0),
        ("plain", 0, 4),
    ]
    page = Path(told.report).read_text(encoding="utf-8")
    assert "What it learned since model version 1" in page
    assert f"4 corrected and {found.new} new labels on training and validation images" in page
    assert write_report(site, ReportRequest(model="1")).learned is None, "the first one had no predecessor"


def test_a_full_training_is_held_against_the_champion_of_its_time() -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    moves = [
        PromotionEvent.model_construct(at=at - timedelta(days=days), to_alias=alias, model_version=version)
        for days, alias, version in (
            (3, Alias.CHAMPION, "1"),
            (2, Alias.CHAMPION, "2"),
            (1, Alias.CANDIDATE, "9"),
            (-1, Alias.CHAMPION, "3"),
        )
    ]
    full = ModelCard.model_construct(created_at=at, retrained_from=None)
    assert predecessor(full, "3", moves) == "2"
    assert predecessor(full, "3", moves[3:]) is None
    origin = RetrainedFrom.model_construct(champion="1")
    assert predecessor(ModelCard.model_construct(created_at=at, retrained_from=origin), "3", moves) == "1"


def test_the_same_again_registers_nothing_twice_and_a_heir_computes_only_new_images(site: Workspace) -> None:
    correct(site, 3)
    first, again = learned(site), learned(site)
    assert (again.model_version, again.reused, again.mode) == (first.model_version, True, "incremental")
    assert versions(site) == ["2", "1"]
    assert first.activations_computed == first.activations_used
    promote(site, PromoteRequest(who="tester", why="newer", override=True))
    assert learned(site).mode is None
    add(site, 4)
    second = learned(site)
    assert second.champion == "2"
    assert second.activations_computed is not None
    assert second.activations_used is not None
    assert 0 < second.activations_computed < 0.4 * second.activations_used
    origin, full = card_of(site, "3").retrained_from, card_of(site, "1")
    assert origin is not None
    assert (origin.champion, origin.last_full_at, origin.full_preset) == ("2", full.created_at, "quick")


def test_a_new_class_is_learned_and_the_gate_counts_it_as_the_champions_errors(site: Workspace) -> None:
    add_class(site, 30)
    report = learned(site)
    assert report.changes is not None
    assert list(report.changes.new_classes) == ["bars"]
    card = card_of(site, "2")
    assert card.classes == ("dots", "plain", "stripes", "bars")
    dataset, manifest = load_dataset(site)
    with open_registry(site) as registry:
        old, new = (predict_split(site, registry, v, dataset, manifest, Split.TEST) for v in ("1", "2"))
    bars = new.labels == 3
    assert bars.sum() >= 2
    assert (old.probabilities[:, 3] == 0).all()
    assert (new.probabilities[bars].argmax(axis=1) == 3).mean() >= 0.5
    gate = looked_at(site, "2")
    assert gate.gate is not None
    macro = next(check for check in gate.gate["checks"] if check["rule"] == "macro_f1")
    assert macro["value"] > 0.1


def test_auto_goes_back_to_a_full_training_when_too_much_changed_and_names_the_reason(
    site: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TrainRequest] = []

    def noted(workspace: Workspace, request: TrainRequest, *more: object) -> object:
        asked.append(request)
        return train(workspace, request.model_copy(update={"overrides": SMALL}))

    monkeypatch.setattr("pipelines.steps.retrain.train", noted)
    add(site, 40)
    report = learned(site, "auto")
    assert report.mode == "full"
    assert "are new or corrected, more than 30%" in report.reasons[0]
    assert asked == [TrainRequest(preset="quick")]
    assert report.candidate is not None
    assert report.candidate.dataset_version == report.dataset_version
    assert card_of(site, "2").retrained_from is None
    late = card_of(site, "1").created_at + timedelta(days=70)
    correct(site, 1)
    overdue = retrain(site, RetrainRequest(), now=late)
    assert "months ago, more than 2" in overdue.reasons[-1]


def test_without_a_champion_only_a_full_training_is_possible(first_champion: Path, tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(first_champion / "tailsight.yaml", folder)
    workspace = Workspace(folder)
    with pytest.raises(NotFound, match="no champion that an incremental training could go on from"):
        learned(workspace)
    ingest(workspace, IngestRequest(images=first_champion.parent / "images", who="tester"))
    report = retrain(workspace, RetrainRequest(mode="full", preset="quick", overrides=SMALL))
    assert (report.mode, report.model_version, report.changes) == ("full", "1", None)
    assert report.reasons == ["There is no champion to go on from."]


def test_requests_that_cannot_work_are_told_apart(site: Workspace) -> None:
    with pytest.raises(BadInput, match="no mode 'fast'"):
        learned(site, "fast")
    with pytest.raises(BadInput, match="for a full training only"):
        retrain(site, RetrainRequest(overrides=("epochs=1",)))


@pytest.mark.slow
def test_the_command_line_answers_with_one_object_and_the_kill_of_it_loses_and_doubles_nothing(
    first_champion: Path, tmp_path: Path
) -> None:
    """Killed in the training, and when the model is half registered; other moments are for the slow kill tests."""
    whole = Path(shutil.copytree(first_champion, tmp_path / "whole" / "workspace"))
    killed = Path(shutil.copytree(first_champion, tmp_path / "killed" / "workspace"))
    for folder in (whole, killed):
        correct(Workspace(folder), 4)
    known = {path.name for path in (killed / "runs").iterdir()}
    artifacts = {path.name for path in (killed / "mlflow" / "artifacts").iterdir()}

    def new_run(inside: str) -> bool:
        return any((path / inside).exists() for path in (killed / "runs").iterdir() if path.name not in known)

    moments = [
        lambda: new_run("epoch.pt"),
        lambda: {path.name for path in (killed / "mlflow" / "artifacts").iterdir()} - artifacts != set(),
    ]
    for reached in moments:
        process = subprocess.Popen(
            [TAILSIGHT, "--workspace", str(killed), "retrain", "--mode", "incremental", "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 240
        while not reached() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    resumed = done(killed, "retrain", "--mode", "incremental")
    uninterrupted = done(whole, "retrain", "--mode", "incremental")
    assert versions(Workspace(killed)) == ["2", "1"]
    for key in ("mode", "reasons", "champion", "dataset_version", "changes", "model_version"):
        assert resumed[key] == uninterrupted[key], key
    for key in ("run_key", "temperature", "validation", "share_automatic"):
        assert resumed["candidate"][key] == uninterrupted["candidate"][key], key
