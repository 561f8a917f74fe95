"""Changes of the classes from the command line on, through ingest, curate, models and the profile."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data_contracts.errors import BadInput, Refused
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.profile import ConfusionCost, parse_profile, shipped_profile_text
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.taxonomy_changes import merged, renamed, split
from data_contracts.workspace import Workspace
from domain_models.decision_costs import cost_matrix
from pipelines.command_line.context import set_workspace
from pipelines.command_line.verbs_taxonomy import app
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.evaluate import EvaluateRequest, evaluate
from pipelines.steps.labels import export_labels, import_labels, verify_labels
from pipelines.steps.model_classes import indistinct, remarks_on_model
from pipelines.steps.predictions import Predictions, joined, joined_costs
from pipelines.steps.taxonomy import merge_classes, rename_class, split_class
from tests.pipelines.picture_files import class_folders, save, take_in, write_csv

LEAD = {"who": "lead", "why": "agreed in the weekly meeting"}
COUNTS = {"crack": 10, "pit": 12, "ok": 20}


@pytest.fixture(scope="module")
def line_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with 42 labelled pictures, curated once; read only."""
    folder = tmp_path_factory.mktemp("line")
    (folder / "workspace").mkdir()
    (folder / "workspace" / "tailsight.yaml").write_text(shipped_profile_text("generic"), encoding="utf-8")
    workspace = Workspace(folder / "workspace")
    take_in(workspace, class_folders(folder / "images", COUNTS))
    curate(workspace)
    return folder


@pytest.fixture
def line(line_template: Path, tmp_path: Path) -> Workspace:
    """A copy that a test may change; its images stay where they are."""
    return Workspace(Path(shutil.copytree(line_template / "workspace", tmp_path / "workspace")))


def names(workspace: Workspace) -> tuple[str, ...]:
    with Ledger.open(workspace) as ledger:
        return current_taxonomy(ledger).names


def totals(splits: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: sum(split.get(name, 0) for split in splits.values()) for split in splits.values() for name in split}


def test_a_rename_reaches_the_next_dataset_and_leaves_the_one_before_readable(line: Workspace) -> None:
    before, manifest = load_dataset(line)
    report = rename_class(line, "crack", "fracture", **LEAD)
    assert (report.version, report.previous_version, report.relabelled, report.waiting) == (2, 1, 10, 0)
    assert report.undo == "tailsight taxonomy rename fracture crack"
    assert names(line) == ("fracture", "ok", "pit")
    after = curate(line)
    assert after.dataset_version != before.dataset_version
    assert totals(after.splits) == {"fracture": 10, "ok": 20, "pit": 12}
    again, same = load_dataset(line, before.dataset_version)
    assert again == before
    assert same.equals(manifest)
    newest, renamed_manifest = load_dataset(line)
    splits = dict(zip(manifest["image_id"], manifest["split"], strict=True))
    assert dict(zip(renamed_manifest["image_id"], renamed_manifest["split"], strict=True)) == splits
    assert (renamed_manifest["class_index"] == manifest["class_index"]).all()
    assert newest.test_edition == before.test_edition
    rename_class(line, "fracture", "crack", **LEAD)
    assert curate(line).dataset_version == before.dataset_version
    assert verify_labels(line)["ok"]


def test_a_merge_and_its_way_back_lead_to_the_same_dataset(line: Workspace) -> None:
    before, _ = load_dataset(line)
    report = merge_classes(line, ["crack", "pit"], "damage", **LEAD)
    assert report.undo == "tailsight taxonomy split damage --into crack pit"
    assert [(item.index, item.name, item.images) for item in report.classes] == [(1, "ok", 20), (3, "damage", 22)]
    assert [(item.index, item.name, item.into) for item in report.retired] == [
        (0, "crack", ["damage"]),
        (2, "pit", ["damage"]),
    ]
    assert totals(curate(line).splits) == {"ok": 20, "damage": 22}
    back = split_class(line, "damage", ["crack", "pit"], **LEAD)
    assert (back.relabelled, back.waiting) == (22, 0)
    assert curate(line).dataset_version == before.dataset_version
    assert verify_labels(line)["ok"]


def test_images_of_a_split_class_wait_in_the_pool_until_a_file_says_which(line: Workspace, tmp_path: Path) -> None:
    before, manifest = load_dataset(line)
    report = split_class(line, "crack", ["hairline", "gap"], **LEAD)
    assert (report.waiting, report.settled) == (10, 0)
    assert report.undo == "tailsight taxonomy merge hairline gap --into crack"
    waiting = curate(line)
    assert waiting.pool == 10
    assert any("10 whose class was split (they wait until somebody says which" in text for text in waiting.sentences)
    assert export_labels(line, tmp_path / "labels.csv")["unlabelled"] == 10
    cracks = manifest.loc[manifest["label"] == "crack", "image_id"]
    rows = [("image_id", "label", "reviewer")]
    rows += [(image, "gap" if number % 2 else "hairline", "ann") for number, image in enumerate(cracks)]
    said = import_labels(line, write_csv(tmp_path / "said.csv", rows))
    assert (said["imported"], said["conflicts"], said["label_errors"]) == (10, [], [])
    settled = curate(line)
    assert totals(settled.splits) == {"ok": 20, "pit": 12, "hairline": 5, "gap": 5}
    _, after = load_dataset(line)
    held = dict(zip(manifest["image_id"], manifest["split"], strict=True))
    assert {image: held[image] for image in after["image_id"]} == dict(
        zip(after["image_id"], after["split"], strict=True)
    )
    merge_classes(line, ["hairline", "gap"], "crack", **LEAD)
    assert curate(line).dataset_version == before.dataset_version


def test_old_folders_and_files_cannot_bring_a_split_class_back(line: Workspace, line_template: Path) -> None:
    split_class(line, "crack", ["hairline", "gap"], **LEAD)
    report = take_in(line, line_template / "images", allow_new_classes=True)
    assert [(error.value, error.row) for error in report.label_errors] == [("crack", None)]
    assert report.label_errors[0].reason.startswith("The class was split since; say 'hairline' or 'gap'.")
    assert report.unlabelled == 10
    assert names(line) == ("ok", "pit", "hairline", "gap")
    split_class(line, "pit", ["pit", "dent"], **LEAD)
    again = take_in(line, line_template / "images")  # says 'pit' of all as it did before; that settles nothing
    assert again.unlabelled == 22
    assert verify_labels(line)["ok"]


def test_moved_files_settle_a_split(line: Workspace, line_template: Path, tmp_path: Path) -> None:
    split_class(line, "crack", ["hairline", "gap"], **LEAD)
    copies = tmp_path / "sorted"
    for number, path in enumerate(sorted((line_template / "images" / "crack").iterdir())):
        target = copies / ("gap" if number % 2 else "hairline") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    report = take_in(line, copies)
    assert (report.added, report.conflicts, report.unlabelled) == (0, 0, 0)
    assert totals(curate(line).splits) == {"ok": 20, "pit": 12, "hairline": 5, "gap": 5}


def test_a_profile_edited_after_the_first_ingest_flows_into_the_ledger(line: Workspace, tmp_path: Path) -> None:
    text = line.profile_path.read_text(encoding="utf-8")
    classes = """
taxonomy:
  - {name: ok, description: Nothing to see.}
  - {name: pit, aliases: [hole], severity: 4, reference_images: [pit/000.png]}
  - {name: stain, description: A dark patch.}
"""
    line.profile_path.write_text(text + classes, encoding="utf-8")
    report = take_in(line, save(tmp_path / "new" / "hole" / "0.png", 777).parent.parent)
    assert report.label_errors == []
    assert any("no longer has 'crack', which stays" in warning for warning in report.warnings)
    with Ledger.open(line) as ledger:
        taxonomy = current_taxonomy(ledger)
    assert taxonomy.version == 2
    assert taxonomy.names == ("crack", "ok", "pit", "stain")
    assert taxonomy.active[1].description == "Nothing to see."
    assert (taxonomy.active[2].aliases, taxonomy.active[2].severity) == (("hole",), 4)
    assert taxonomy.active[2].reference_images == ("pit/000.png",)
    assert totals(curate(line).splits)["pit"] == 13
    line.profile_path.write_text(text + classes.replace("A dark patch.", "A dry patch."), encoding="utf-8")
    curate(line)
    with Ledger.open(line) as ledger:
        assert current_taxonomy(ledger).active[3].description == "A dry patch."
    line.profile_path.write_text(text + classes.replace("[hole]", "[hole, crack]"), encoding="utf-8")
    with pytest.raises(BadInput, match="'crack' names both 'crack' and 'pit'"):
        curate(line)


def test_the_profile_speaks_of_renamed_classes_and_is_told_so(line: Workspace) -> None:
    text = line.profile_path.read_text(encoding="utf-8").replace("pass_class: null", "pass_class: ok")
    costs = "\ncosts:\n  - {actual: crack, predicted: ok, cost: 10}\n"
    line.profile_path.write_text(text + costs, encoding="utf-8")
    report = rename_class(line, "ok", "good", **LEAD)
    assert report.sentences == [
        "tailsight.yaml, pass_class: 'ok' is read as 'good'; write the new name there.",
        "tailsight.yaml, costs: 'ok' is read as 'good'; write the new name there.",
    ]
    split_report = split_class(line, "crack", ["hairline", "gap"], **LEAD)
    assert any(
        "costs: 'crack' was split into hairline, gap and counts for nothing" in s for s in split_report.sentences
    )
    with Ledger.open(line) as ledger:
        read = line.profile.under(current_taxonomy(ledger))
    assert read.pass_class == "good"
    assert read.costs == ()


def test_costs_of_merged_classes_become_one_and_those_between_them_fall_away() -> None:
    profile = parse_profile(shipped_profile_text("solar-el"), origin="solar-el")
    taxonomy = Taxonomy(version=1, classes=profile.taxonomy)
    after = merged(taxonomy, ["probably_defective", "defective"], "defective", events=0)
    assert profile.under(after).costs == (ConfusionCost(actual="defective", predicted="functional", cost=10),)
    both = merged(taxonomy, ["functional", "defective"], "defective", events=0)
    assert [cost.actual for cost in profile.under(both).costs] == ["probably_defective"]


THREE = Taxonomy(version=1, classes=tuple(TaxonomyClass(name=name) for name in ("crack", "ok", "pit")))


def test_classes_that_a_model_cannot_tell_apart_are_compared_as_one() -> None:
    after = split(THREE, "crack", ["hairline", "gap"], events=0)
    assert indistinct(("crack", "ok", "pit"), 1, after) == [("hairline", "gap")]
    assert indistinct(after.names, 2, after) == []
    assert indistinct(("crack", "ok", "pit"), 1, renamed(THREE, "crack", "x")) == []
    predictions = Predictions(
        ["a", "b", "c"],
        np.array([2, 3, 0]),
        ["a", "b", "c"],
        np.array([[0.1, 0.1, 0.3, 0.5], [0.2, 0.0, 0.4, 0.4], [0.7, 0.1, 0.1, 0.1]]),
        np.array([3, 2, 0]),
        after.names,
    )
    together = joined(predictions, [("hairline", "gap")])
    assert together.classes == ("ok", "pit", "hairline + gap")
    assert together.labels.tolist() == [2, 2, 0]
    assert together.predicted.tolist() == [2, 2, 0]
    assert np.allclose(together.probabilities, [[0.1, 0.1, 0.8], [0.2, 0.0, 0.8], [0.7, 0.1, 0.2]])
    costs = cost_matrix(after.names, (ConfusionCost(actual="gap", predicted="ok", cost=7),))
    merged_costs = joined_costs(costs, after.names, [("hairline", "gap")])
    assert merged_costs.tolist() == [[0, 1, 1], [1, 0, 1], [7, 1, 0]]
    with pytest.raises(Refused, match="no two classes in common"):
        joined(predictions, [after.names])


def test_what_a_model_never_heard_of_or_cannot_tell_apart_is_said() -> None:
    after = split(THREE, "crack", ["hairline", "gap"], events=0).extended(["stain"])
    assert remarks_on_model("1", THREE.names, 1, after) == [
        "Model version 1 was trained when 'hairline', 'gap' were one class; it cannot tell them apart and says each in "
        "equal shares, so its figures for them say nothing.",
        "Model version 1 has never heard of 'stain'; every image of it counts as an error.",
    ]
    assert remarks_on_model("1", THREE.names, 1, renamed(THREE, "pit", "hole")) == []


def run(workspace: Workspace, *words: str) -> tuple[int, str]:
    set_workspace(workspace)
    answer = CliRunner().invoke(app, list(words))
    return answer.exit_code, answer.output


def test_the_command_line_takes_several_classes_after_into_as_people_write_them(line: Workspace) -> None:
    by = ("--by", "lead", "--why", "agreed")
    code, output = run(line, "split", "crack", "--into", "hairline", "gap", *by)
    assert code == 0, output
    assert "Split crack into hairline, gap: taxonomy version 2." in output
    assert "10 images are unlabelled now and wait for a person." in output
    assert "To take it back: tailsight taxonomy merge hairline gap --into crack --by WHO --why TEXT" in output
    code, output = run(line, "merge", "hairline", "gap", "--into", "crack", "--json", *by)
    assert code == 0, output
    assert '"settled": 10' in output
    assert run(line, "rename", "crack", "fracture", "--by", "lead", "--why", "agreed")[0] == 0
    assert run(line, "split", "pit", *by, "--into", "a", "--into", "b")[0] == 0
    assert run(line, "split", "ok", "--into", "c", "d", "--by", "lead")[0] == 2
    assert names(line) == ("fracture", "ok", "a", "b")


def test_an_older_model_is_evaluated_under_the_classes_of_today(promoted: Path) -> None:
    workspace = Workspace(promoted)
    before = evaluate(workspace, EvaluateRequest())
    rename_class(workspace, "dots", "spots", **LEAD)
    curate(workspace)
    after = evaluate(workspace, EvaluateRequest())
    assert after.dataset_version != before.dataset_version
    assert after.figures.macro_f1 == pytest.approx(before.figures.macro_f1)
    assert "spots" in after.figures.per_class
    assert after.remarks == []
    merge_classes(workspace, ["plain", "stripes"], "other", **LEAD)
    curate(workspace)
    merged_report = evaluate(workspace, EvaluateRequest())
    assert set(merged_report.figures.per_class) == {"spots", "other"}
    assert merged_report.figures.accuracy >= before.figures.accuracy
    split_class(workspace, "other", ["plain", "stripes"], **LEAD)
    curate(workspace)
    assert evaluate(workspace, EvaluateRequest()).figures.accuracy == pytest.approx(before.figures.accuracy)
