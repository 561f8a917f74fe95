"""An artefact that was exported on another processor is held to the parity gate here before it decides anything."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.errors import BadInput, Refused
from data_contracts.workspace import Workspace
from domain_models.compute import Compute, Threads
from domain_models.export import kinds
from domain_models.export.artefact import Manifest
from domain_models.export.kinds import ExportFormat, Precision, check_kind
from domain_models.export.parity import LIMITS
from domain_models.model_card import ModelCard
from domain_models.openvino_toolkit import openvino_computes_bf16
from domain_models.processor import processor_name
from domain_models.runtimes import Computable, open_computable
from pipelines.serving.served_model import find_model
from pipelines.steps import export_gate, held_here, score_recipe
from pipelines.steps.export import ExportRequest, export
from pipelines.steps.held_here import HeldHere, difference
from pipelines.steps.score import ScoreReport, ScoreRequest, score
from pipelines.steps.score_model import scoring_model
from pipelines.steps.score_ray_worker import require_in_reach
from tests.pipelines.commands import tailsight
from tests.pipelines.conftest import made_once

OTHER = "Another Processor avx2 fma avx512f avx512_vnni amx_int8"


@pytest.fixture(scope="module")
def exported_workspace(tmp_path_factory: pytest.TempPathFactory, larger_workspace: Path) -> Path:
    """A champion with an 8-bit artefact, exported on this processor; read only."""

    def make(folder: Path) -> None:
        place = Path(shutil.copytree(larger_workspace, folder / "workspace"))
        export(Workspace(place), ExportRequest(format="openvino", precision="int8"))

    return made_once(tmp_path_factory, "exported", make) / "workspace"


@pytest.fixture
def line(exported_workspace: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(exported_workspace, tmp_path / "line")))


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the gate has opened, one entry for each opening of an artefact."""
    opened: list[Path] = []

    def noting(item: Computable, card: ModelCard, threads: Threads | None = None) -> Compute:
        if item.exported:
            opened.append(item.source)
        return open_computable(item, card, threads)

    monkeypatch.setattr(export_gate, "open_computable", noting)
    return opened


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this were a processor with other arithmetic than the one that exported."""
    monkeypatch.setattr(held_here, "processor_name", lambda: OTHER)


@pytest.fixture
def deciding_otherwise(monkeypatch: pytest.MonkeyPatch, elsewhere: None) -> None:
    """As if that processor's 8-bit sums did not fit: its artefacts confuse the classes."""

    def opened(item: Computable, card: ModelCard, threads: Threads | None = None) -> Compute:
        compute = open_computable(item, card, threads)
        return (lambda batch: np.roll(compute(batch), 1, axis=1)) if item.exported else compute

    monkeypatch.setattr(export_gate, "open_computable", opened)


def scored(line: Workspace, images: Path, out: Path, **more: object) -> ScoreReport:
    return score(line, ScoreRequest.model_validate({"images": str(images), "out": out, **more}))


def test_on_the_processor_that_exported_nothing_is_held_again(
    line: Workspace, new_images: Path, tmp_path: Path, gates: list[Path]
) -> None:
    report = scored(line, new_images, tmp_path / "a.parquet")
    assert (report.runtime, report.remarks, gates) == ("openvino-int8", [], [])


@pytest.mark.usefixtures("elsewhere")
def test_on_another_it_is_held_once_and_then_decides(
    line: Workspace, new_images: Path, tmp_path: Path, gates: list[Path]
) -> None:
    report = scored(line, new_images, tmp_path / "a.parquet")
    assert (report.runtime, report.remarks) == ("openvino-int8", [])
    assert len(gates) == 2, "in batches and one by one"
    scoring_model(line, "champion")
    assert len(gates) == 2
    (kept,) = (line.cache / "parity").iterdir()
    seen = HeldHere.model_validate_json(kept.read_text())
    assert seen.failures == ()
    assert f"{seen.agreement:.1%} of {seen.images} validation images" in report.computed_by


@pytest.mark.usefixtures("deciding_otherwise")
def test_where_it_decides_otherwise_32_bits_score_and_it_is_said_why(
    line: Workspace, new_images: Path, tmp_path: Path
) -> None:
    report = scored(line, new_images, tmp_path / "a.parquet")
    assert report.runtime == "openvino"
    assert "32-bit floats" in report.computed_by
    (remark,) = report.remarks
    assert "does not pass the parity gate" in remark
    assert "amx_int8" in remark
    assert "tailsight export --format openvino --precision int8" in remark
    with pytest.raises(Refused, match="is not used here"):
        scored(line, new_images, tmp_path / "b.parquet", precision="int8")
    assert find_model(line, "champion").remarks == (remark,)


@pytest.mark.usefixtures("elsewhere")
def test_where_the_validation_images_are_gone_it_is_not_trusted(
    line: Workspace, new_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(line.cache)

    def gone(*_: object, **__: object) -> Any:
        raise BadInput("The image images/part-01.png is gone.")

    monkeypatch.setattr(held_here, "prepared_images", gone)
    report = scored(line, new_images, tmp_path / "a.parquet")
    assert report.runtime == "openvino"
    assert "cannot be held to the parity gate here. The image images/part-01.png is gone." in report.remarks[0]
    assert not (line.cache / "parity").exists(), "they may be back tomorrow"


@pytest.mark.usefixtures("elsewhere")
def test_a_workspace_that_cannot_be_written_is_enough(
    line: Workspace, monkeypatch: pytest.MonkeyPatch, gates: list[Path]
) -> None:
    shutil.rmtree(line.cache)
    line.cache.write_text("no folder can be made here, as on a file system that is read-only")
    assert scoring_model(line, "champion").runtime == "openvino-int8"
    assert len(gates) == 2
    monkeypatch.setattr(held_here, "MOST", 10)
    assert scoring_model(line, "champion").runtime == "openvino-int8"
    assert len(gates) == 4, "what cannot be kept is looked at anew"


def test_another_release_of_the_runtime_is_another_machine(line: Workspace, gates: list[Path]) -> None:
    manifest = manifest_of(line)
    assert difference(manifest) is None
    old = manifest.model_copy(update={"tools": {**manifest.tools, "openvino": "2020.1"}})
    assert "It was exported with openvino 2020.1" in str(difference(old))
    assert gates == []


def test_32_bits_are_the_same_everywhere(line: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_here, "processor_name", lambda: OTHER)
    manifest = manifest_of(line)
    assert difference(manifest) is not None
    assert difference(manifest.model_copy(update={"precision": Precision.FP32})) is None


def test_a_machine_of_a_cluster_with_other_arithmetic_is_refused(
    line: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    eight, floats = (scoring_model(line, "champion", precision=one).recipe for one in ("int8", "fp32"))
    require_in_reach(eight, [])
    monkeypatch.setattr(score_recipe, "processor_name", lambda: OTHER)
    require_in_reach(floats, [])
    with pytest.raises(Refused, match="computes openvino-int8 with other arithmetic"):
        require_in_reach(eight, [])


@pytest.mark.parametrize("has", [True, False])
def test_bf16_is_exported_only_where_the_gate_can_see_it(monkeypatch: pytest.MonkeyPatch, *, has: bool) -> None:
    monkeypatch.setattr(kinds, "openvino_computes_bf16", lambda: has)
    if has:
        assert check_kind("openvino", "bf16") == (ExportFormat.OPENVINO, Precision.BF16)
    else:
        with pytest.raises(BadInput, match="openvino cannot be exported in bf16 here"):
            check_kind("openvino", "bf16")
    assert check_kind("openvino", "int8") == (ExportFormat.OPENVINO, Precision.INT8)


@pytest.mark.skipif(openvino_computes_bf16(), reason="this processor has bf16")
def test_a_processor_without_bf16_says_so_from_the_command_line(exported_workspace: Path) -> None:
    said = tailsight(exported_workspace, "export", "--format", "openvino", "--precision", "bf16")
    assert said.code == 2
    assert "This processor has no bf16" in said.stderr


def manifest_of(line: Workspace) -> Manifest:
    found = scoring_model(line, "champion").manifest
    assert found is not None
    assert found.parity.limits == LIMITS[Precision.INT8]
    assert found.machine == processor_name()
    return found
