"""A LiteRT artefact goes through the gate, is attached, and scores when it is asked for; without one, words say so."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from data_contracts.errors import BadInput
from data_contracts.workspace import Workspace
from domain_models.export.artefact import read_artefact
from domain_models.export.kinds import LITERT_NAME
from pipelines.steps.export import ExportRequest, export
from pipelines.steps.score import ScoreRequest, score
from pipelines.steps.score_model import scoring_model


@pytest.mark.slow
@pytest.mark.skipif(find_spec("litert_torch") is None, reason="deploy/litert-toolkit.txt is not installed")
def test_what_passes_is_attached_and_scores_as_the_network_does(
    promoted: Path, image_folder: Path, tmp_path: Path
) -> None:
    workspace = Workspace(promoted)
    report = export(workspace, ExportRequest(format="litert", precision="fp16", out=tmp_path / "copy"))
    assert report.parity.passed
    assert report.parity.agreement >= 0.995
    manifest = read_artefact(tmp_path / "copy")
    assert manifest.input.startswith("pixels: uint8 [1, ")
    assert set(manifest.files) == {LITERT_NAME}
    assert {"litert-torch", "ai-edge-quantizer"} <= set(manifest.tools)
    frames = {}
    for runtime in ("auto", "litert"):
        out = tmp_path / f"{runtime}.parquet"
        said = score(workspace, ScoreRequest(images=str(image_folder), out=out, runtime=runtime))
        frames[runtime] = pd.read_parquet(out)
    assert said.runtime == "litert-fp16"
    assert (frames["auto"]["predicted"] == frames["litert"]["predicted"]).mean() >= 0.995
    assert scoring_model(workspace, "champion").runtime == "openvino", "LiteRT only computes where it is asked for"


@pytest.mark.parametrize("precision", ["auto", "fp32", "int8"])
def test_without_an_artefact_the_way_to_one_is_told(promoted: Path, precision: str) -> None:
    with pytest.raises(BadInput, match="has no litert artefact") as error:
        scoring_model(Workspace(promoted), "champion", "litert", precision)
    wanted = "fp32" if precision == "auto" else precision
    assert f"tailsight export --format litert --precision {wanted}" in str(error.value)
