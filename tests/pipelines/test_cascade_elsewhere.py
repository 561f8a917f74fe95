"""A cascade wherever models go: over HTTP, on a cluster, through the gate, and as what a retraining begins with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.events import append_events
from data_contracts.records import NewLabelEvent
from data_contracts.vocabulary import Action, Source
from data_contracts.workspace import Workspace
from domain_models.model_card import read_card
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.registry import open_registry
from tests.pipelines.commands import done, tailsight
from tests.pipelines.served import served

pytestmark = pytest.mark.slow


@pytest.fixture
def line(two: Path) -> Path:
    """A cascade is the champion."""
    done(two, "cascade", "--first", "2", "--max-loss", "50")
    done(two, "promote", "--by", "tester", "--why", "faster", "--override")
    return two


def test_server_and_cluster_answer_as_the_local_engine_does(line: Path, new_images: Path, tmp_path: Path) -> None:
    local, ray = tmp_path / "local.parquet", tmp_path / "ray.parquet"
    done(line, "score", str(new_images), "--out", str(local))
    rows = pd.read_parquet(local)
    good = rows[rows["error"].isna()]
    assert good["answered_early"].any()
    with served(line, tmp_path / "log") as server:
        for _, row in good.iterrows():
            said = server.predict(Path(row["path"])).json
            assert (said["predicted"], said["decision"], said["model_version"]) == (
                row["predicted"],
                row["decision"],
                "3",
            )
            assert np.isclose(said["confidence"], row["confidence"], atol=1e-4)
    shutil.rmtree(line / "scores")
    answer = tailsight(line, "score", str(new_images), "--out", str(ray), "--engine", "ray", "--json")
    assert answer.code == 0, answer.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(ray), rows, rtol=0, atol=1e-4)


def test_the_gate_judges_a_cascade_by_itself(two: Path) -> None:
    done(two, "cascade", "--first", "2", "--max-loss", "0.5")
    judged = tailsight(two, "promote", "--by", "tester", "--why", "as good, and faster", "--json")
    assert judged.code in (0, 1), judged.stderr
    with open_registry(Workspace(two)) as registry:
        champion = registry.resolve("champion")
    assert champion == ("3" if judged.code == 0 else "1")


def test_a_retraining_from_a_cascade_goes_on_with_its_large_network_and_says_so(line: Path) -> None:
    workspace = Workspace(line)
    _, manifest = load_dataset(workspace)
    plain = manifest[(manifest["split"] == "train") & (manifest["label"] == "plain")].sort_values("image_id")
    events = [
        NewLabelEvent(who="ann", subject_id=one, action=Action.CORRECT, label="dots", source=Source.READER)
        for one in plain["image_id"][:6]
    ]
    with Ledger.open(workspace) as ledger:
        append_events(ledger, events)
    curate(workspace)
    answer = tailsight(line, "retrain", "--json")
    assert answer.code == 0, answer.stderr
    assert "model version 3, is a cascade: training goes on from its large network" in " ".join(answer.stderr.split())
    with open_registry(workspace) as registry:
        card = read_card(registry.package(answer.json["candidate"]["model_version"]))
    assert card.cascade is None
    assert "3" in card.parents
