"""``tailsight simulate`` on a real workspace."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from data_contracts.errors import BadInput, NotFound
from data_contracts.workspace import Workspace
from pipelines.command_line.summaries_studies import summarise_simulation
from pipelines.steps.dataset import load_dataset
from pipelines.steps.initialise import initialise
from pipelines.steps.simulate import SimulateRequest, simulate
from pipelines.steps.simulate_scenes import labelled_embeddings
from tests.pipelines.commands import done, tailsight


def test_the_verb_says_how_many_labels_each_strategy_would_have_needed(curated: Path) -> None:
    events = (curated / "tailsight.yaml").read_bytes()
    report = done(curated, "simulate", "--strategy", "margin", "--seeds", "2", "--target", "0.9")
    assert report["seeds"] == 2
    assert 0.5 < report["full_macro_f1"] <= 1
    assert [item["strategy"] for item in report["needed"]] == ["random", "margin"]
    first, second = report["needed"]
    assert first["share_of_random"] is None
    assert second["share_of_random"] == pytest.approx(second["labels"] / first["labels"], rel=1e-6)
    assert second["labels"] == pytest.approx(np.exp(np.log(second["by_split"]).mean()))
    low, high = second["share_ci"]
    assert low <= second["share_of_random"] <= high
    assert {point["strategy"] for point in report["curves"]} == {"random", "margin"}
    assert set(report["strategies"]) == {"random", "margin"}
    for name, curve in report["strategies"].items():
        points = [point for point in report["curves"] if point["strategy"] == name]
        for field in ("labels", "macro_f1", "macro_f1_ci"):
            assert curve[field] == [point[field] for point in points]
    assert (report["share_of_random_at_95"], report["share_of_random_at_98"]) == (None, None)
    assert report["curves"][-1]["labels"] == report["images"]
    ends = {point["macro_f1"] for point in report["curves"] if point["labels"] == report["images"]}
    assert max(ends) - min(ends) < 1e-12, "with every label all strategies are the same"
    assert ends.pop() == pytest.approx(report["full_macro_f1"], abs=0.02)
    assert Path(report["picture"]).read_bytes().startswith(b"\x89PNG")
    assert Path(report["table"]).read_text().startswith("strategy,labels,macro_f1")
    assert (curated / "tailsight.yaml").read_bytes() == events
    console = Console(file=io.StringIO(), width=120)
    summarise_simulation(report, console)
    assert "90.0% of it" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_several_strategies_and_the_shares_that_scripts_read(curated: Path) -> None:
    report = done(curated, "simulate", "--strategies", "cold_start, margin", "--seeds", "2")
    assert list(report["strategies"]) == ["random", "cold_start", "margin"]
    shares = {item["target"]: item["share_of_random"] for item in report["needed"] if item["strategy"] == "cold_start"}
    assert report["share_of_random_at_95"] == shares[0.95]
    assert report["share_of_random_at_98"] == shares[0.98]


def test_replays_that_are_there_are_not_repeated(curated: Path) -> None:
    workspace = Workspace(curated)
    first = simulate(workspace, SimulateRequest(strategies=("random",), seeds=2))
    (folder,) = workspace.runs.glob("simulation-*")
    kept = json.loads((folder / "random-0.json").read_text())
    kept["macro_f1"] = [0.5 for _ in kept["macro_f1"]]
    (folder / "random-0.json").write_text(json.dumps(kept))
    (folder / "random-1.json").unlink()  # as after a kill
    second = simulate(workspace, SimulateRequest(strategies=("margin",), seeds=2, targets=(0.5,)))
    other = json.loads((folder / "random-1.json").read_text())["macro_f1"][-1]
    assert second.full_macro_f1 == pytest.approx((0.5 + other) / 2)
    assert first.full_macro_f1 != second.full_macro_f1


def test_each_seed_has_a_split_of_its_own_and_no_component_is_split(curated: Path) -> None:
    workspace = Workspace(curated)
    dataset, manifest = load_dataset(workspace)
    data = labelled_embeddings(workspace, dataset, manifest)
    pairs = np.repeat(np.arange(len(data.labels) // 2 + 1), 2)[: len(data.labels)]
    data = replace(data, components=tuple(f"pair-{number}" for number in pairs))
    scenes = [data.scene(seed) for seed in (0, 1, 0)]
    where = [{row.tobytes() for row in scene.pool.embeddings} for scene in scenes]
    assert where[0] == where[2] != where[1]
    for scene in scenes:
        counts = [len(scene.truth), len(scene.judges.val_labels), len(scene.judges.test_labels)]
        assert sum(counts) == len(data.labels)
        assert np.abs(np.array(counts) / sum(counts) - data.fractions).max() < 0.1
        rows = {values.tobytes(): number for number, values in enumerate(data.embeddings)}
        train = {int(pairs[rows[values.tobytes()]]) for values in scene.pool.embeddings}
        test = {int(pairs[rows[values.tobytes()]]) for values in scene.judges.test_embeddings}
        assert not train & test
    with pytest.raises(BadInput, match="not of two classes"):
        replace(data, labels=np.zeros_like(data.labels)).scene(0)


def test_mistakes_are_explained(curated: Path, tmp_path: Path) -> None:
    answer = tailsight(curated, "simulate", "--strategy", "margni")
    assert (answer.code, "Did you mean 'margin'?" in answer.stderr) == (2, True)
    with pytest.raises(BadInput, match="share of the macro-F1"):
        simulate(Workspace(curated), SimulateRequest(targets=(1.2,)))
    empty = Workspace(tmp_path / "empty")
    initialise(empty, "generic")
    with pytest.raises(NotFound) as caught:
        simulate(empty, SimulateRequest())
    assert "curate" in str(caught.value.remedy)
