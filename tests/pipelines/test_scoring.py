"""Batch scoring: one row per file, resumable after a kill, the same pixels as training."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dagster import DagsterInstance

from data_contracts.errors import BadInput
from data_contracts.frames import SCORES, read_table
from data_contracts.workspace import Workspace
from domain_models.model_package import load_package
from domain_models.preprocessing import prepare_file
from domain_models.runtimes import Runtime, open_runtime
from domain_models.tracking import Registry
from pipelines.steps import score as score_step
from pipelines.steps.score import ScoreRequest, score
from pipelines.steps.score_files import prepare_one
from pipelines.steps.score_listing import batch_files
from tests.pipelines.commands import TAILSIGHT, done, tailsight


def _request(images: Path | str, out: Path, **more: object) -> ScoreRequest:
    return ScoreRequest.model_validate({"images": str(images), "out": out, **more})


def test_every_file_has_a_row_and_a_torn_one_says_why(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "scores.parquet"
    report = done(promoted, "score", str(new_images), "--out", str(out))
    frame = read_table(out, SCORES)
    assert len(frame) == report["rows"] == 61
    assert report["errors"] == 1
    torn = frame[frame["path"].str.endswith("torn.png")].iloc[0]
    assert torn["error"]
    assert pd.isna(torn["predicted"])
    assert torn["decision"] == "review"
    good = frame[frame["error"].isna()]
    columns = ["prob_dots", "prob_plain", "prob_stripes"]
    assert np.allclose(good[columns].sum(axis=1), 1)
    assert (good[columns].idxmax(axis=1).str.removeprefix("prob_") == good["predicted"]).all()
    assert np.allclose(good["confidence"], good[columns].max(axis=1))
    assert all(row.predicted in row.conformal_set for row in good.itertuples())
    assert set(frame["model_version"]) == {"1"}
    assert report["automatic"] == (frame["decision"] == "auto").sum()
    assert report["automatic"] + report["review"] == report["rows"]
    assert (good["reason"].isna() == (good["decision"] == "auto")).all()
    truth = good["path"].map(lambda path: Path(path).parent.name)
    assert (truth == good["predicted"]).mean() > 0.8
    instance = DagsterInstance.from_config(str(promoted / "dagster"))
    try:  # a batch is a partition of its own
        assert instance.get_dynamic_partitions("batch") == [report["batch"]]
        assert instance.get_runs(limit=1)[0].tags["dagster/partition"] == report["batch"]
    finally:
        instance.dispose()


def test_columns_come_in_the_order_of_the_contract(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    score(Workspace(promoted), _request(new_images, tmp_path / "s.parquet"))
    assert list(pd.read_parquet(tmp_path / "s.parquet").columns) == [
        *("path", "image_id", "predicted", "confidence", "margin", "entropy"),
        *("prob_dots", "prob_plain", "prob_stripes"),
        *("conformal_set", "decision", "reason", "model_version", "error"),
    ]


def test_scoring_the_same_files_again_computes_nothing(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    first = score(Workspace(promoted), _request(new_images, tmp_path / "a.parquet"))
    second = score(Workspace(promoted), _request(new_images, tmp_path / "b.parquet"))
    assert not first.reused
    assert second.reused
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_scoring_that_was_killed_goes_on_where_it_stopped(promoted: Path, tmp_path: Path, new_images: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    sources = sorted(new_images.rglob("*.png"))
    for copy in range(60):
        for number, source in enumerate(sources):
            shutil.copyfile(source, many / f"{copy:02d}-{number:03d}.png")
    out = tmp_path / "scores.parquet"
    command = [TAILSIGHT, "--workspace", str(promoted), "score", str(many), "--out", str(out), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list((promoted / "scores").glob("*/*/parts/part-*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    report = done(promoted, "score", str(many), "--out", str(out))
    assert report["resumed_rows"] >= score_step.ROWS_PER_PART
    assert report["rows"] == len(sources) * 60
    frame = read_table(out, SCORES)
    assert frame["path"].is_unique
    assert list(frame["path"]) == sorted(str(path) for path in many.iterdir())
    assert not list((promoted / "scores").glob("*/*/parts"))


def test_a_torn_part_of_a_killed_run_is_never_read(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    workspace = Workspace(promoted)
    whole = score(workspace, _request(new_images, tmp_path / "a.parquet"))
    folder = workspace.scores / whole.batch / "1-openvino"
    shutil.rmtree(folder)
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / ".part-000000.123").write_bytes(b"PAR1 half a file")
    again = score(workspace, _request(new_images, tmp_path / "b.parquet"))
    assert again.resumed_rows == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), pd.read_parquet(tmp_path / "b.parquet"))


def test_scoring_prepares_pixels_exactly_as_training_does(promoted_workspace: Path, new_images: Path) -> None:
    with Registry.open(promoted_workspace / "mlflow") as registry:
        _, card = load_package(registry.package("1"))
    for file in batch_files(str(new_images / "dots")):
        prepared = prepare_one(file, card.preprocessing)
        assert prepared.pixels is not None
        assert np.array_equal(prepared.pixels, prepare_file(file.path.read_bytes(), card.preprocessing))


def test_all_runtimes_agree(promoted_workspace: Path, new_images: Path) -> None:
    with Registry.open(promoted_workspace / "mlflow") as registry:
        package = registry.package("1")
    _, card = load_package(package)
    files = batch_files(str(new_images / "stripes"))
    pixels = [prepared.pixels for prepared in (prepare_one(file, card.preprocessing) for file in files)]
    batch = np.stack([array for array in pixels if array is not None])
    expected = open_runtime(Runtime.TORCH, package, card)(batch)
    for runtime in (Runtime.ONNX, Runtime.OPENVINO):
        assert np.abs(open_runtime(runtime, package, card)(batch) - expected).max() < 2e-3


def test_a_glob_names_its_files(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    report = score(Workspace(promoted), _request(f"{new_images}/*/*-00[0-4].png", tmp_path / "s.parquet"))
    assert report.rows == 15


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"images": "/nowhere"}, "There is no folder /nowhere"),
        ({"out": Path("/tmp/s.csv")}, "is not a .parquet file"),
        ({"runtime": "cuda"}, "There is no runtime 'cuda'"),
        ({"model": "challenger"}, "There is no challenger yet"),
        ({"model": "9"}, "There is no model version '9'"),
        ({"out": Path("/proc/none/s.parquet")}, "The scores cannot be written to /proc/none/s.parquet"),
    ],
)
def test_a_mistake_is_explained(
    promoted_workspace: Path, new_images: Path, tmp_path: Path, change: dict[str, object], what: str
) -> None:
    request = ScoreRequest.model_validate({"images": str(new_images), "out": tmp_path / "s.parquet", **change})
    with pytest.raises(BadInput, match=re.escape(what)):
        score(Workspace(promoted_workspace), request)


def test_an_engine_that_does_not_exist_ends_with_exit_code_2(promoted_workspace: Path, new_images: Path) -> None:
    answer = tailsight(promoted_workspace, "score", str(new_images), "--out", "s.parquet", "--engine", "spark")
    assert answer.code == 2
    assert answer.stderr == "tailsight: There is no engine 'spark'.\n  Do:  Engines: local, ray.\n"
