"""The model selection matrix on a real workspace: real networks, real timings."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from data_contracts.workspace import Workspace
from pipelines.command_line.summaries_studies import summarise_backbones
from pipelines.steps.backbones import BackbonesRequest, backbones


def test_the_matrix_times_every_backbone_and_judges_those_with_weights(curated: Path) -> None:
    names = ("tf_efficientnet_lite0", "mobilenetv3_small_050", "shufflenet_v2_x0_5", "resnet_18")
    report = backbones(Workspace(curated), BackbonesRequest(backbones=names)).model_dump(mode="json")
    rows = {row["backbone"]: row for row in report["rows"]}
    assert list(rows) == list(names[:3])
    assert "Did you mean 'resnet18'?" in report["left_out"]["resnet_18"]
    lite = rows["tf_efficientnet_lite0"]
    assert (lite["weights"], lite["family"]) == ("bundled", "EfficientNet-Lite")
    assert 0.5 < lite["macro_f1"] <= 1
    assert 12 < lite["megabytes"] < 15
    assert 3e6 < lite["parameters"] < 4e6
    small = rows["mobilenetv3_small_050"]
    assert (small["weights"], small["macro_f1"]) == ("none", None)
    for row in rows.values():
        assert 0 < row["milliseconds"] < 1000
        assert row["images_per_second"] > 0
    page = Path(report["report"]).read_text()
    assert "Model selection matrix" in page
    assert "not pretrained" in page
    assert "resnet_18" in page
    console = Console(file=io.StringIO(), width=120)
    summarise_backbones(report, console)
    assert "Not measured: resnet_18" in console.file.getvalue()  # type: ignore[attr-defined]
