"""Scores of a model that was trained before the classes changed: told, and decided, by the names of today."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_contracts.frames import SCORES, read_table
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.taxonomies import current_taxonomy
from data_contracts.taxonomy import Taxonomy, TaxonomyClass
from data_contracts.taxonomy_changes import merged, renamed, split
from data_contracts.vocabulary import Decision
from data_contracts.workspace import Workspace
from domain_models.calibrators import Calibration
from domain_models.conformal import ConformalRule
from domain_models.decision_costs import DecisionCosts, weighted_mistakes
from domain_models.passing import PassRule
from domain_models.triage import TriageRule
from pipelines.steps.automatic_decisions import publish_scored_batches
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.decisions import Decider
from pipelines.steps.evaluate import EvaluateRequest, evaluate
from pipelines.steps.model_classes import classes_today, shares_today
from pipelines.steps.queue_scores import finished_scores, read_scores
from pipelines.steps.score import ScoreReport, ScoreRequest, score
from pipelines.steps.score_names import told_today
from pipelines.steps.taxonomy import merge_classes, rename_class, split_class
from tests.pipelines.commands import TINY, done

LEAD = {"who": "lead", "why": "agreed in the weekly meeting"}
THREE = Taxonomy(version=1, classes=tuple(TaxonomyClass(name=name) for name in ("crack", "ok", "pit")))


def decider(*rare: str, passing: PassRule | None = None) -> Decider:
    facts = {"confidence_threshold": 0.8, "margin_threshold": 0.1, "limit": 0.05, "confidence_level": 0.95}
    counts = {"share_automatic": 1.0, "expected_error": 0.0, "expected_error_ci": None, "n_calibration": 9}
    more = {"n_groups": 9, "n_automatic": 9, "n_wrong": 0, "rare_classes": rare, "cold_start": False}
    figures = {"seconds_per_image": 8.0, "reader_hours_per_1000": 0.0, "sentences": ()}
    rule = TriageRule.model_validate({**facts, **counts, **more, **figures})
    conformal = ConformalRule(score="lac", threshold=0.7, coverage=0.95, n_calibration=9, n_groups=9)  # type: ignore[arg-type]
    return Decider(("crack", "ok", "pit"), Calibration(), rule, conformal, passing)


def passing_from(threshold: float) -> PassRule:
    facts = {"pass_class": "ok", "threshold": threshold, "limit": 0.01, "confidence_level": 0.95, "n_bad": 400}
    return PassRule.model_validate({**facts, "escaped": 0, "overkill_rate": 0.1, "sentences": ()})


def test_merged_classes_are_decided_as_one_and_their_probabilities_are_added_up() -> None:
    own = np.array([[0.5, 0.1, 0.4], [0.1, 0.85, 0.05]])
    today = classes_today(THREE.names, 1, merged(THREE, ["crack", "pit"], "damage", events=0))
    before = decider().decide_of(own)
    one, other = decider().decide_of(own, today)
    assert (before[0].predicted, before[0].decision, before[0].reason) == ("crack", "review", "confused_pair:crack|pit")
    assert (one.predicted, one.decision, one.reason) == ("damage", "auto", None)
    assert (round(one.confidence, 9), round(one.margin, 9), one.conformal_set) == (0.9, 0.8, ["damage"])
    assert one.probabilities.sum() == pytest.approx(1)
    assert (other.predicted, other.conformal_set) == (before[1].predicted, before[1].conformal_set)


def test_a_merged_class_is_always_reviewed_only_if_each_of_its_parts_was() -> None:
    own = np.array([[0.9, 0.05, 0.05]])
    damage = merged(THREE, ["crack", "pit"], "damage", events=0)
    today = classes_today(THREE.names, 1, damage)
    assert decider("crack").decide_of(own)[0].reason == "rare_class"
    assert decider("crack").decide_of(own, today)[0].decision == Decision.AUTO
    assert decider("crack", "pit").decide_of(own, today)[0].reason == "rare_class"


def test_a_part_passes_alone_only_from_the_threshold_of_the_first_level_on() -> None:
    own = np.array([[0.02, 0.97, 0.01], [0.08, 0.9, 0.02], [0.9, 0.05, 0.05]])
    told = decider(passing=passing_from(0.95)).decide_of(own)
    assert [one.predicted for one in told] == ["ok", "ok", "crack"]
    assert [one.decision for one in told] == ["auto", "review", "auto"]
    assert [one.reason for one in told] == [None, "low_confidence", None]
    assert [one.decision for one in decider().decide_of(own)] == ["auto", "auto", "auto"]


def test_the_threshold_of_the_first_level_holds_under_the_names_of_today() -> None:
    own = np.array([[0.02, 0.97, 0.01], [0.08, 0.9, 0.02], [0.0, 0.9, 0.1]])
    strict = decider(passing=passing_from(0.95))
    called_good = classes_today(THREE.names, 1, renamed(THREE, "ok", "good"))
    assert [one.decision for one in strict.decide_of(own, called_good)] == ["auto", "review", "review"]
    one_class = classes_today(THREE.names, 1, merged(THREE, ["ok", "pit"], "fine", events=0))
    told = strict.decide_of(own, one_class)
    assert [one.predicted for one in told] == ["fine"] * 3
    assert [one.decision for one in told] == ["auto", "review", "review"], "set on the class as it was"


def test_costs_decide_under_the_names_of_today() -> None:
    costs = DecisionCosts.of(weighted_mistakes(np.array([1.0, 1.0, 3.0])))
    weighing = replace(decider(), costs=costs)
    own = np.array([[0.1, 0.6, 0.3], [0.35, 0.5, 0.15], [0.05, 0.9, 0.05]])
    assert [one.predicted for one in weighing.decide_of(own)] == ["pit", "ok", "ok"]
    today = classes_today(THREE.names, 1, merged(THREE, ["crack", "pit"], "damage", events=0))
    told = weighing.decide_of(own, today)
    assert [one.predicted for one in told] == ["damage", "damage", "ok"]
    assert [round(one.confidence, 9) for one in told] == [0.4, 0.5, 0.9]
    assert [one.decision for one in told] == ["review", "review", "auto"]
    assert all(one.predicted in one.conformal_set for one in told)


def test_what_changed_since_the_training_is_said_in_words() -> None:
    again = split(renamed(THREE, "crack", "fracture"), "pit", ["hole", "dent"], events=0)
    today = classes_today(THREE.names, 1, again)
    assert today.names == ("fracture", "ok", "pit")
    assert today.sentences("4") == [
        "Since model version 4 was trained, 'crack' is now 'fracture'; the scores say so.",
        "'pit' was split into 'hole', 'dent', which model version 4 cannot tell apart: the scores keep the old name "
        "until a model is trained that can.",
    ]
    (sentence,) = classes_today(THREE.names, 1, merged(THREE, ["crack", "pit"], "pit", events=0)).sentences("4")
    assert sentence.startswith("Since model version 4 was trained, 'crack', 'pit' became one class, 'pit': their")
    nothing_left = merged(THREE, ["crack", "pit", "ok"], "thing", events=0)
    assert classes_today(THREE.names, 1, nothing_left).unchanged
    assert classes_today(THREE.names, 1, renamed(renamed(THREE, "ok", "good"), "good", "ok")).sentences("4") == []


def test_what_a_model_says_is_told_of_the_classes_in_use() -> None:
    own = np.array([[0.5, 0.1, 0.4]])

    def told(taxonomy: Taxonomy, version: int | None = 1) -> dict[str, float]:
        (row,) = own @ shares_today(THREE.names, version, taxonomy)
        return {name: round(float(value), 9) for name, value in zip(taxonomy.names, row, strict=True)}

    assert told(THREE) == {"crack": 0.5, "ok": 0.1, "pit": 0.4}
    assert told(merged(THREE, ["crack"], "pit", events=0)) == {"ok": 0.1, "pit": 0.9}
    parts = split(THREE, "crack", ["crack", "gap"], events=0)
    assert told(parts) == {"crack": 0.25, "ok": 0.1, "pit": 0.4, "gap": 0.25}
    assert told(parts, 2) == told(parts, None) == {"crack": 0.5, "ok": 0.1, "pit": 0.4, "gap": 0}
    apart = split(THREE, "crack", ["gap", "tear"], events=0)
    assert told(apart) == told(apart, None) == {"ok": 0.1, "pit": 0.4, "gap": 0.25, "tear": 0.25}
    unheard = THREE.extended(["dent"])
    assert told(unheard) == {"crack": 0.5, "ok": 0.1, "pit": 0.4, "dent": 0}


def scored(workspace: Workspace, images: Path, out: Path) -> tuple[ScoreReport, pd.DataFrame]:
    report = score(workspace, ScoreRequest(images=str(images), out=out))
    return report, read_table(out, SCORES)


def test_scores_follow_the_names_of_today_without_being_computed_again(
    promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    workspace = Workspace(promoted)
    first, before = scored(workspace, new_images, tmp_path / "a.parquet")
    rename_class(workspace, "dots", "spots", **LEAD)
    merge_classes(workspace, ["plain", "stripes"], "other", **LEAD)
    report, after = scored(workspace, new_images, tmp_path / "b.parquet")
    assert (report.reused, report.model_version, set(after["model_version"])) == (True, "1", {"1"})
    assert [name for name in after.columns if name.startswith("prob_")] == ["prob_spots", "prob_other"]
    assert np.allclose(after["prob_other"], before["prob_plain"] + before["prob_stripes"], equal_nan=True)
    assert np.allclose(after["prob_spots"], before["prob_dots"], equal_nan=True)
    good = after[after["error"].isna()]
    assert (good[["prob_spots", "prob_other"]].idxmax(axis=1).str.removeprefix("prob_") == good["predicted"]).all()
    assert np.allclose(good["confidence"], good[["prob_spots", "prob_other"]].max(axis=1))
    assert all(set(row.conformal_set) <= {"spots", "other"} for row in good.itertuples())
    assert list(after["image_id"].dropna()) == list(before["image_id"].dropna())
    assert after.loc[after["error"].notna(), ["decision", "error"]].values.tolist() == (
        before.loc[before["error"].notna(), ["decision", "error"]].values.tolist()
    )
    assert set(report.predicted) <= {"spots", "other"}
    assert report.automatic == (after["decision"] == "auto").sum() >= first.automatic
    assert (first.remarks, len(report.remarks)) == ([], 2)
    assert "'dots' is now 'spots'" in done(promoted, "score", str(new_images), "--out", "c.parquet")["remarks"][0]

    with Ledger.open(workspace) as ledger:
        today = current_taxonomy(ledger)
        batches = read_scores(finished_scores(workspace, "1"), workspace=workspace, taxonomy=today, model_version="1")
        assert publish_scored_batches(workspace, ledger, set()) == report.automatic
    assert batches.classes == ("spots", "other")
    assert set(batches.frame["predicted"]) <= {"spots", "other"}
    elsewhere = told_today(tmp_path / "a.parquet", before, today)  # written before; nothing beside it says more
    assert np.allclose(elsewhere["prob_other"], after["prob_other"], equal_nan=True)
    assert set(elsewhere["predicted"].dropna()) <= {"spots", "other"}

    split_class(workspace, "other", ["plain", "stripes"], **LEAD)
    rename_class(workspace, "spots", "dots", **LEAD)
    _, back = scored(workspace, new_images, tmp_path / "d.parquet")
    pd.testing.assert_frame_equal(back, before)
    split_class(workspace, "dots", ["small", "large"], **LEAD)
    report, kept = scored(workspace, new_images, tmp_path / "e.parquet")
    pd.testing.assert_frame_equal(kept, before)
    assert report.remarks[0].startswith("'dots' was split into 'small', 'large', which model version 1 cannot tell")
    with Ledger.open(workspace) as ledger:
        today = current_taxonomy(ledger)
    batches = read_scores(finished_scores(workspace, "1"), workspace=workspace, taxonomy=today, model_version="1")
    said = batches.frame[[f"prob_{name}" for name in batches.classes]].to_numpy(dtype=np.float64)
    told = pd.DataFrame(said @ batches.shares(today), columns=list(today.names))
    assert np.allclose(told.sum(axis=1), 1)
    assert np.allclose(told["small"], batches.frame["prob_dots"] / 2)
    assert np.allclose(told["small"], told["large"])


def test_a_data_set_that_is_reached_again_knows_the_names_used_in_between(curated: Path) -> None:
    workspace = Workspace(curated)
    before, _ = load_dataset(workspace)
    rename_class(workspace, "dots", "spots", **LEAD)
    in_between = curate(workspace)
    rename_class(workspace, "spots", "dots", **LEAD)
    assert curate(workspace).dataset_version == before.dataset_version != in_between.dataset_version
    again, _ = load_dataset(workspace)
    assert again.taxonomy.names == before.taxonomy.names
    assert again.taxonomy.possible("spots", version=2) == {"dots"}


@pytest.mark.slow
def test_a_model_trained_between_a_rename_and_the_rename_back_is_evaluated(promoted: Path) -> None:
    workspace = Workspace(promoted)
    first = evaluate(workspace, EvaluateRequest())
    rename_class(workspace, "dots", "spots", **LEAD)
    curate(workspace)
    version = done(promoted, "train", *TINY, "--seed", "1")["model_version"]
    rename_class(workspace, "spots", "dots", **LEAD)
    curate(workspace)
    second = evaluate(workspace, EvaluateRequest(model=version))
    assert (second.dataset_version, second.remarks) == (first.dataset_version, [])
    assert set(second.figures.per_class) == {"dots", "plain", "stripes"}
    assert second.figures.macro_f1 > 0.5
