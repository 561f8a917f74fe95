"""Trying several networks on a real workspace: the preset ``auto``, and troubles it shares with `backbones`."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.errors import NotFound
from data_contracts.workspace import Workspace
from pipelines.steps.backbones import BackbonesRequest, backbones
from pipelines.steps.curate import CurateRequest, curate
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.initialise import initialise
from pipelines.steps.train import TrainRequest, train
from tests.pipelines.commands import make_images

SMALL = (
    *("preprocessing.height=32", "preprocessing.width=32", "epochs=1"),
    *("frozen_stages=0", "cached_views=0", "cross_fit_folds=0"),
)


def test_auto_tries_settings_says_so_and_repeats_nothing(curated: Path) -> None:
    workspace, request = Workspace(curated), TrainRequest(preset="auto", minutes=0.01, overrides=SMALL)
    report = train(workspace, request)
    assert report.preset == "auto"
    (said,) = [sentence for sentence in report.choices if "tried in" in sentence]
    assert said.startswith("1 configuration was tried")
    assert said.endswith("that is the best.")
    assert len(list(workspace.runs.glob("search-*/study.jsonl"))) == 1
    again = train(workspace, request)
    assert (again.model_version, again.reused) == (report.model_version, True)
    assert again.choices == report.choices


def test_an_image_that_is_gone_is_said_once_and_the_search_goes_on_when_it_is_back(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", per_class=20)
    workspace = Workspace(tmp_path / "workspace")
    initialise(workspace, "generic")
    ingest(workspace, IngestRequest(images=images, who="tester"))
    curate(workspace, CurateRequest())
    gone = images / "dots" / "dots-003.png"
    content = gone.read_bytes()
    gone.unlink()
    request = TrainRequest(preset="auto", minutes=0.01, overrides=SMALL)
    for verb in (
        lambda: train(workspace, request),
        lambda: backbones(workspace, BackbonesRequest(backbones=("mobilenetv3_small_050", "tf_efficientnet_lite0"))),
    ):
        with pytest.raises(NotFound, match=r"dots-003\.png cannot be read") as error:
            verb()
        assert str(error.value).count("dots-003.png") == 1
    gone.write_bytes(content)
    (said,) = [sentence for sentence in train(workspace, request).choices if "tried in" in sentence]
    assert said.startswith("1 configuration was tried")
