"""``tailsight cascade``: a small and a large model as one version, through gate, scores and rollback."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from data_contracts.errors import BadInput, Refused
from data_contracts.workspace import Workspace
from domain_models.model_card import read_card
from pipelines.steps.cascade import CascadeRequest, cascade
from pipelines.steps.export import ExportRequest, export
from pipelines.steps.models import list_models
from pipelines.steps.registry import open_registry
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import TAILSIGHT, done, tailsight
from tests.pipelines.conftest import SMALL_MODEL


@pytest.mark.slow
def test_the_whole_path_from_two_models_to_scores_of_their_cascade(two: Path, new_images: Path, tmp_path: Path) -> None:
    made = done(two, "cascade", "--first", "2", "--max-loss", "50")
    seen = made["cascade"]["validation"]
    assert (made["model_version"], made["reused"]) == ("3", False)
    assert 0 < seen["share_first"] <= 1
    assert seen["loss"] <= 0.5
    assert made["images_per_second"] > 0
    assert done(two, "cascade", "--first", "2", "--max-loss", "50")["reused"]
    listed = list_models(Workspace(two))
    assert [one.cascade is not None for one in listed.versions] == [True, False, False]
    with open_registry(Workspace(two)) as registry:
        package, large = registry.package("3"), registry.package("1")
    for name in ("model.safetensors", "model.onnx"):
        assert (package / name).read_bytes() == (large / name).read_bytes()
    assert read_card(package).parents == ("1", "2")
    done(two, "promote", "--by", "tester", "--why", "faster", "--override")
    frames = []
    for runtime in ("openvino", "torch"):
        out = tmp_path / f"{runtime}.parquet"
        report = done(two, "score", str(new_images), "--out", str(out), "--runtime", runtime)
        assert "A cascade: model version 2 answers" in report["computed_by"]
        assert report["answered_early"] == pd.read_parquet(out)["answered_early"].sum() > 0
        frames.append(pd.read_parquet(out).drop(columns=["confidence", "margin", "entropy"]))
    told = [frame[["path", "predicted", "decision", "model_version"]] for frame in frames]
    pd.testing.assert_frame_equal(*told)
    assert set(told[0]["model_version"]) == {"3"}
    page = Path(done(two, "report")["report"]).read_text(encoding="utf-8")
    assert "A cascade: model version 2 answers an image alone" in page
    assert done(two, "queue", "--budget", "5")
    with pytest.raises(Refused, match="tailsight export --model 1"):
        export(Workspace(two), ExportRequest(format="onnx"))
    assert done(two, "rollback", "--by", "tester", "--why", "back")["model_version"] == "1"


@pytest.mark.slow
def test_a_cascade_decides_on_each_image_as_one_of_its_models(two: Path, new_images: Path, tmp_path: Path) -> None:
    made = cascade(Workspace(two), CascadeRequest(first="2", max_loss=1))
    scores = {}
    for model in ("1", "2", made.model_version):
        out = tmp_path / f"{model}.parquet"
        done(two, "score", str(new_images), "--out", str(out), "--model", model)
        frame = pd.read_parquet(out)
        assert ("answered_early" in frame) == (model == "3")
        scores[model] = frame.loc[frame["error"].isna(), [name for name in frame if name.startswith("prob_")]]
    by_large, by_first = ((scores["3"] - scores[one]).abs().max(axis=1) < 1e-4 for one in ("1", "2"))
    assert (by_large | by_first).all()
    assert by_first.any()


@pytest.mark.slow
def test_models_that_cannot_be_one_cascade_are_refused_in_words(two: Path) -> None:
    workspace = Workspace(two)
    train(workspace, TrainRequest(preset="quick", overrides=SMALL_MODEL))
    answer = tailsight(two, "cascade", "--first", "3")
    assert answer.code == 2
    assert "--set preprocessing.reduced_from=[64,64]" in answer.stderr
    with pytest.raises(BadInput, match="cannot answer before itself"):
        cascade(workspace, CascadeRequest(first="1"))
    made = cascade(workspace, CascadeRequest(first="2", max_loss=50))
    with pytest.raises(BadInput, match="is a cascade itself"):
        cascade(workspace, CascadeRequest(first=made.model_version))


@pytest.mark.slow
def test_killed_and_repeated_it_registers_once(two: Path) -> None:
    command = [TAILSIGHT, "--workspace", str(two), "cascade", "--first", "2", "--max-loss", "50", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not list((two / "runs").glob("*/package/first")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    report = done(two, "cascade", "--first", "2", "--max-loss", "50")
    assert report["model_version"] == "3"
    assert len(list_models(Workspace(two)).versions) == 3
