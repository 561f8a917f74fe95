"""``tailsight simulate --learner retraining``: every round trains a network, on from the last one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_contracts.errors import BadInput
from data_contracts.progress import SilentProgress
from data_contracts.workspace import Workspace
from domain_models import retraining_learner
from domain_models.label_curves import RETRAINING_GROWTH, label_counts, replayed
from domain_models.selection.strategies import STRATEGIES, StrategyName
from pipelines.steps.dataset import load_dataset
from pipelines.steps.simulate import SimulateRequest, simulate
from pipelines.steps.simulate_scenes import LabelledEmbeddings, labelled_embeddings
from pipelines.steps.simulate_training import TrainingReplays
from tests.pipelines.commands import done

TINY = ("preprocessing.height=32", "preprocessing.width=32", "epochs=2", "cached_views=1", "probe=false")
SAID: list[str] = []


class Listener(SilentProgress):
    """Progress that keeps what is said."""

    def say(self, sentence: str) -> None:
        SAID.append(sentence)


def scene_of(folder: Path) -> tuple[LabelledEmbeddings, TrainingReplays]:
    workspace = Workspace(folder)
    dataset, manifest = load_dataset(workspace)
    data = labelled_embeddings(workspace, dataset, manifest)
    return data, TrainingReplays(workspace, manifest, data.image_ids, TINY, Listener())


def test_a_replay_trains_anew_when_labels_have_doubled_and_incrementally_in_between(
    curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SAID.clear()
    data, replays = scene_of(curated)
    scene = data.scene(0)
    counts = [int(n) for n in label_counts(len(scene.truth), len(data.classes), RETRAINING_GROWTH)][-4:]
    embeddings = []
    learner = replays.learner(scene, tmp_path / "replay", 0)
    learn = learner.learn

    def watched(pool: retraining_learner.Pool) -> retraining_learner.Learned:
        found = learn(pool)
        assert found.embeddings is not None
        unseen = ~pool.labelled
        assert np.isfinite(found.probabilities[unseen]).all()
        np.testing.assert_allclose(found.probabilities[unseen].sum(axis=1), 1.0, atol=1e-6)
        embeddings.append(found.embeddings)
        return found

    monkeypatch.setattr(learner, "learn", watched)
    curve = replayed(scene.pool, scene.truth, scene.judges, STRATEGIES[StrategyName.MARGIN], counts, 0, learner=learner)
    assert curve.labels.tolist() == counts
    assert [sentence.split(", ")[1] for sentence in SAID] == [
        "full training.",
        "incremental training.",
        "full training." if counts[2] >= 2 * counts[0] else "incremental training.",
        "full training." if counts[2] < 2 * counts[0] <= counts[3] else "incremental training.",
    ]
    assert not np.allclose(embeddings[0], embeddings[-1]), "what selection looks at adapts"
    assert curve.macro_f1[-1] > 0.5

    again = replays.learner(scene, tmp_path / "replay", 0)  # as after a kill: rounds are read from their checkpoints
    second = replayed(scene.pool, scene.truth, scene.judges, STRATEGIES[StrategyName.MARGIN], counts, 0, learner=again)
    assert second.macro_f1.tolist() == curve.macro_f1.tolist()


def test_one_class_teaches_nothing_and_does_no_harm(curated: Path, tmp_path: Path) -> None:
    data, replays = scene_of(curated)
    scene = data.scene(0)
    label = int(scene.truth[0])
    labels = np.full(len(scene.truth), -1, dtype=np.int64)
    labels[np.flatnonzero(scene.truth == label)[:3]] = label
    found = replays.learner(scene, tmp_path / "replay", 0).learn(replace(scene.pool, labels=labels))
    assert np.isnan(found.probabilities).all()
    assert set(found.test_predicted.tolist()) == {label}


@pytest.mark.slow
def test_the_verb_retrains_and_leaves_no_checkpoints(curated: Path) -> None:
    settings = [word for setting in (*TINY, "frozen_stages=5") for word in ("--set", setting)]
    report = done(curated, "simulate", "--strategies", "margin", "--seeds", "2", "--learner", "retraining", *settings)
    assert report["learner"] == "retraining"
    assert 0.5 < report["full_macro_f1"] <= 1
    (folder,) = (curated / "runs").glob("simulation-*")
    assert sorted(path.name for path in folder.iterdir()) == [
        "margin-0.json",
        "margin-1.json",
        "random-0.json",
        "random-1.json",
    ]


def test_mistakes_are_explained(curated: Path) -> None:
    workspace = Workspace(curated)
    with pytest.raises(BadInput, match="no learner 'oracle'"):
        simulate(workspace, SimulateRequest(learner="oracle"))
    with pytest.raises(BadInput, match="nothing is trained"):
        simulate(workspace, SimulateRequest(overrides=("epochs=1",)))
    with pytest.raises(BadInput, match="epoch"):
        simulate(workspace, SimulateRequest(learner="retraining", overrides=("epoch=1",)))
