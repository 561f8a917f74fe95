"""``export``: what passes the parity gate is attached and used; what does not leaves nothing but its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from data_contracts.errors import BadInput, IntegrityError, Refused
from data_contracts.workspace import Workspace
from domain_models.export import converters
from domain_models.export.artefact import Manifest
from domain_models.export.converters import Converter, Source
from domain_models.export.kinds import ExportFormat, Precision
from domain_models.graph_names import GRAPH_INPUT
from domain_models.openvino_toolkit import openvino_computes_bf16
from domain_models.preprocessing import prepare_file
from pipelines.steps.export import ExportRequest, export
from pipelines.steps.score import ScoreRequest, score
from pipelines.steps.score_model import scoring_model
from tests.pipelines.commands import done, tailsight


@pytest.fixture
def line(larger_workspace: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(larger_workspace, tmp_path / "line")))


def scored(workspace: Workspace, images: Path, out: Path, **more: object) -> pd.DataFrame:
    score(workspace, ScoreRequest.model_validate({"images": str(images), "out": out, **more}))
    return pd.read_parquet(out)


def test_an_8_bit_artefact_passes_the_gate_and_is_what_scores(
    larger_workspace: Path, tmp_path: Path, new_images: Path
) -> None:
    place = Path(shutil.copytree(larger_workspace, tmp_path / "line"))
    line = Workspace(place)
    a = scored(line, new_images, tmp_path / "a.parquet")
    report = done(place, "export", "--format", "openvino", "--precision", "int8", "--out", str(tmp_path / "copy"))
    assert report["parity"]["failures"] == []
    assert report["parity"]["agreement"] >= 0.92
    assert report["size_of_fp32"] <= 0.3
    assert report["made"] == {"calibration_images": 105, "calibration_split": "train", "seed": 0}
    second = done(place, "score", str(new_images), "--out", str(tmp_path / "b.parquet"))
    assert second["runtime"] == "openvino-int8"
    assert not second["reused"]
    assert "8-bit integers, by NNCF" in second["computed_by"]
    back = ScoreRequest(images=str(new_images), out=tmp_path / "c.parquet", precision="fp32")
    report = score(line, back)
    assert (report.runtime, report.reused) == ("openvino", True)
    b, c = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in "bc")
    pd.testing.assert_frame_equal(a, c)
    good = a["error"].isna()
    assert (a["predicted"] == b["predicted"])[good].mean() > 0.9
    assert not np.allclose(a["confidence"][good], b["confidence"][good], atol=1e-7), "another arithmetic has computed"
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {"model.xml", "model.bin", "manifest.json"}


@pytest.mark.skipif(not openvino_computes_bf16(), reason="this processor has no bf16")
def test_bf16_decides_as_32_bits_do_because_it_looks_twice_where_it_is_close(
    line: Workspace, tmp_path: Path, new_images: Path
) -> None:
    before = scored(line, new_images, tmp_path / "a.parquet")
    report = export(line, ExportRequest(format="openvino", precision="bf16"))
    manifest = Manifest.model_validate_json((Path(report.artefact) / "manifest.json").read_text())
    assert manifest.second_look is not None
    after = scored(line, new_images, tmp_path / "b.parquet")
    assert scoring_model(line, "champion").runtime == "openvino-bf16"
    assert (before["predicted"].dropna() == after["predicted"].dropna()).all()


def test_torch_in_half_precision_is_held_to_the_gate_and_scores_where_torch_does(
    line: Workspace, tmp_path: Path, new_images: Path
) -> None:
    before = scored(line, new_images, tmp_path / "a.parquet", runtime="torch")
    with pytest.raises(BadInput, match="has no torch artefact in bf16"):
        scored(line, new_images, tmp_path / "b.parquet", runtime="torch", precision="bf16")
    report = export(line, ExportRequest(format="torch", precision="bf16"))
    assert "convolutions and matrix products in bf16" in report.arithmetic
    assert {path.name for path in Path(report.artefact).iterdir()} == {
        "model.json",
        "model.safetensors",
        "manifest.json",
    }
    after = scored(line, new_images, tmp_path / "b.parquet", runtime="torch")
    assert scoring_model(line, "champion", "torch").runtime == "torch-bf16"
    assert scoring_model(line, "champion").runtime == "openvino", "without a GPU nobody else takes it"
    assert (before["predicted"].dropna() == after["predicted"].dropna()).all()
    good = before["error"].isna()
    assert not np.allclose(before["confidence"][good], after["confidence"][good], atol=1e-7)
    with pytest.raises(BadInput, match="torch has no int8"):
        export(line, ExportRequest(format="torch", precision="int8"))


def test_the_folder_alone_is_enough_to_use_an_artefact_elsewhere(
    line: Workspace, tmp_path: Path, new_images: Path
) -> None:
    table = scored(line, new_images, tmp_path / "a.parquet", runtime="onnx")
    export(line, ExportRequest(format="onnx", precision="fp16", out=tmp_path / "artefact"))
    manifest = Manifest.model_validate_json((tmp_path / "artefact" / "manifest.json").read_text())
    session = onnxruntime.InferenceSession(tmp_path / "artefact" / "model.onnx", providers=["CPUExecutionProvider"])
    row = table[table["error"].isna()].iloc[0]
    pixels = prepare_file(Path(row["path"]).read_bytes(), manifest.card.preprocessing)
    (logits,) = session.run(None, {GRAPH_INPUT: pixels[None]})
    probabilities = manifest.card.probabilities(logits)[0]
    expected = [row[f"prob_{name}"] for name in manifest.card.classes]
    np.testing.assert_allclose(probabilities, expected, atol=0.01)
    assert "fp16" in manifest.folder_name
    assert manifest.tools["onnxruntime"]


def test_an_artefact_that_decides_otherwise_is_refused_with_its_report(
    line: Workspace, tmp_path: Path, new_images: Path
) -> None:
    # This toolkit's 8 bits do not follow this network: nothing here is made up.
    with pytest.raises(Refused, match="does not pass the parity gate") as refused:
        export(line, ExportRequest(format="onnx", precision="int8"))
    path = line.reports / "export-onnx-int8-of-1-refused.json"
    assert str(path) in str(refused.value)
    kept = json.loads(path.read_text())
    assert kept["parity"]["agreement"] < 0.92
    assert kept["parity"]["failures"]
    assert not list(line.mlflow.rglob("export-onnx-int8"))
    with pytest.raises(BadInput, match="has no onnx artefact in int8"):
        scored(line, new_images, tmp_path / "a.parquet", runtime="onnx", precision="int8")
    assert refused.value.exit_code == 1


def test_an_8_bit_artefact_with_bad_ranges_is_refused(line: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = (ExportFormat.OPENVINO, Precision.INT8)
    good = converters.CONVERTERS[kind]

    def without_light(source: Source, folder: Path) -> None:
        """Ranges measured on black images: everything else is cut off."""
        good.write(replace(source, calibration=np.zeros_like(source.calibration)), folder)

    monkeypatch.setitem(converters.CONVERTERS, kind, Converter(without_light, good.arithmetic))
    with pytest.raises(Refused, match="does not pass the parity gate"):
        export(line, ExportRequest(format="openvino", precision="int8", training_epochs=0))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="training in 8 bits needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # the toolkit's own, about torch
def test_what_does_not_pass_in_8_bits_is_trained_in_8_bits_and_scores(
    line: Workspace, monkeypatch: pytest.MonkeyPatch, new_images: Path, tmp_path: Path
) -> None:
    kind = (ExportFormat.OPENVINO, Precision.INT8)
    good = converters.CONVERTERS[kind]

    def without_light(source: Source, folder: Path) -> None:
        good.write(replace(source, calibration=np.zeros_like(source.calibration)), folder)

    monkeypatch.setitem(converters.CONVERTERS, kind, Converter(without_light, good.arithmetic))
    report = export(line, ExportRequest(format="openvino", precision="int8", training_epochs=2))
    assert report.parity.agreement >= 0.92
    assert report.size_of_fp32 <= 0.3
    assert report.arithmetic.endswith("trained in 8 bits")
    assert report.made["training_epochs"] == 2
    assert report.made["agreement_before_training"] < 0.92
    done = score(line, ScoreRequest(images=str(new_images), out=tmp_path / "a.parquet"))
    assert done.runtime == "openvino-int8"


def test_an_artefact_whose_files_changed_scores_nothing(line: Workspace, tmp_path: Path, new_images: Path) -> None:
    report = export(line, ExportRequest(format="openvino", precision="fp16"))
    weights = Path(report.artefact) / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x01\x02\x03")
    with pytest.raises(IntegrityError, match="changed since it was attached"):
        scored(line, new_images, tmp_path / "a.parquet")


@pytest.mark.slow
def test_an_artefact_exported_anew_is_scored_anew(line: Workspace, tmp_path: Path, new_images: Path) -> None:
    keys: list[str] = []
    take: Callable[[], None] = lambda: keys.append(scoring_model(line, "champion").key)  # noqa: E731
    take()
    for count in (16, 64):
        export(line, ExportRequest(format="openvino", precision="int8", calibration_count=count))
        take()
    assert len(set(keys)) == 3
    scored(line, new_images, tmp_path / "a.parquet")
    assert [path.parent.name for path in line.scores.glob("*/*/scores.parquet")] == [keys[-1]]


def test_words_that_name_nothing_are_refused_before_any_work(line: Workspace, tmp_path: Path, new_images: Path) -> None:
    for words, said in (
        (("export", "--format", "coreml"), "coreml cannot be exported here"),
        (("export", "--model", "77"), "There is no model version '77'"),
        (("score", str(new_images), "--out", str(tmp_path / "s.parquet"), "--precision", "fp4"), "no precision 'fp4'"),
    ):
        answer = tailsight(line.folder, *words)
        assert answer.code == 2, answer.stderr
        assert said in answer.stderr
