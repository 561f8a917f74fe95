"""Scoring on a Ray cluster: the rows of the local engine, also when a machine is lost or the command is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from data_contracts.errors import BadInput, TailsightError, Unreachable
from data_contracts.frames import SCORES, read_table
from data_contracts.progress import SILENT
from data_contracts.workspace import Workspace
from domain_models.model_card import read_card
from domain_models.runtimes import Runtime, packaged
from domain_models.tracking import Registry
from pipelines.steps import ray_session, score_ray
from pipelines.steps.score import ROWS_PER_PART, ScoreRequest, check_engine, score
from pipelines.steps.score_files import BatchFile
from pipelines.steps.score_listing import batch_files
from pipelines.steps.score_parts import Parts
from pipelines.steps.score_ray import compute_parts_with_ray
from pipelines.steps.score_recipe import ModelRecipe
from tests.pipelines.commands import TAILSIGHT, done, tailsight
from tests.pipelines.ray_cluster import DeadlyPath, RayCluster, free_port


def _same_rows(one: Path, other: Path) -> None:
    """Same columns, same order, same words; numbers within 1e-6."""
    pd.testing.assert_frame_equal(read_table(one, SCORES), read_table(other, SCORES), rtol=0, atol=1e-6)


def _many(folder: Path, sources: Path, copies: int) -> Path:
    """A batch of many parts, one file of it damaged in each copy."""
    folder.mkdir()
    for number, source in enumerate(sorted(sources.rglob("*.png"))):
        for copy in range(copies):
            shutil.copyfile(source, folder / f"{copy:03d}-{number:03d}.png")
    return folder


def _parts(workspace: Path) -> list[Path]:
    return sorted((workspace / "scores").glob("*/*/parts/part-*.parquet"))


def _until(there: Callable[[], object], process: subprocess.Popen[str], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _ray_processes() -> set[int]:
    return {
        process.pid for process in psutil.process_iter(["name"]) if process.info["name"] in ("raylet", "gcs_server")
    }


def _own_ray_processes() -> list[str]:
    children = psutil.Process().children(recursive=True)
    return [child.name() for child in children if child.name() in ("raylet", "gcs_server")]


def _let_in(cluster: RayCluster) -> dict[str, str]:
    return {**os.environ, **cluster.environment}


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where a cluster made here keeps its logs after a failure: taken away after the test."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setattr(ray_session, "_short_folder", lambda: folder)
        yield


def test_ray_on_one_machine_gives_the_rows_of_the_local_engine(
    promoted: Path, new_images: Path, tmp_path: Path
) -> None:
    local, ray = tmp_path / "local.parquet", tmp_path / "ray.parquet"
    score(Workspace(promoted), ScoreRequest(images=str(new_images), out=local))
    shutil.rmtree(promoted / "scores")
    before = _ray_processes()
    answer = tailsight(promoted, "score", str(new_images), "--out", str(ray), "--engine", "ray", "--json")
    assert answer.code == 0, answer.stderr
    report = json.loads(answer.stdout)  # nothing but our object: Ray's own words went elsewhere
    assert (report["rows"], report["errors"], report["reused"]) == (61, 1, False)
    assert "Starting Ray on this machine." in answer.stderr
    assert "raylet" not in answer.stderr
    assert "MapBatches" not in answer.stderr
    _same_rows(ray, local)
    assert _ray_processes() <= before  # stopped at the end


@pytest.mark.slow
def test_a_node_killed_half_way_loses_no_row_and_doubles_none(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    images = _many(tmp_path / "many", new_images, copies=130)
    local, ray = tmp_path / "local.parquet", tmp_path / "ray.parquet"
    score(Workspace(promoted), ScoreRequest(images=str(images), out=local))
    shutil.rmtree(promoted / "scores")
    rows = len(read_table(local, SCORES))
    parts = -(-rows // ROWS_PER_PART)
    with RayCluster() as cluster:
        second = cluster.add_node()
        command = [TAILSIGHT, "--workspace", str(promoted), "score", str(images), "--out", str(ray), "--json"]
        command += ["--engine", "ray", "--ray-address", cluster.address]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_let_in(cluster)
        )
        _until(lambda: len(_parts(promoted)) >= parts // 4 and cluster.runs(second, "PartScorer"), process)
        finished = len(_parts(promoted))
        cluster.kill(second)
        said, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    assert finished < parts - 2, "the node was killed too late to matter"
    assert json.loads(said)["rows"] == rows
    assert "was lost; the others take over" in told
    _same_rows(ray, local)


@pytest.mark.slow
def test_a_killed_ray_scoring_is_finished_by_either_engine(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    images = _many(tmp_path / "many", new_images, copies=60)
    out = tmp_path / "scores.parquet"
    with RayCluster() as cluster:
        command = [TAILSIGHT, "--workspace", str(promoted), "score", str(images), "--out", str(out)]
        command += ["--engine", "ray", "--ray-address", cluster.address]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_let_in(cluster)
        )
        _until(lambda: _parts(promoted), process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert not out.exists()
        copied = Path(shutil.copytree(promoted, tmp_path / "copy"))
        report = done(promoted, "score", str(images), "--out", str(out))
        again = done(
            copied, "score", str(images), "--out", str(tmp_path / "ray.parquet"), "--engine", "ray",
            "--ray-address", cluster.address, **cluster.environment,
        )  # fmt: skip
    assert report["resumed_rows"] == again["resumed_rows"] >= ROWS_PER_PART
    _same_rows(tmp_path / "ray.parquet", out)


@pytest.mark.slow
@pytest.mark.usefixtures("own_folder")
def test_a_machine_that_does_not_see_the_files_is_named(promoted: Path, new_images: Path, tmp_path: Path) -> None:
    images = Path(shutil.copytree(new_images, tmp_path / "batch"))
    files = batch_files(str(images))
    shutil.rmtree(images)  # what a machine without the shared folder sees
    with Registry.open(promoted / "mlflow") as registry:
        package = registry.package("1")
    parts = Parts(tmp_path / "parts", rows=len(files), size=ROWS_PER_PART, classes=read_card(package).classes)
    recipe = ModelRecipe("1", package, packaged(Runtime.OPENVINO, package))
    with pytest.raises(BadInput, match=r"cannot see the file .*shared under the same path.*s3://bucket/prefix"):
        compute_parts_with_ray(files, parts, [0], recipe, batch_size=64, address=None, progress=SILENT)
    assert parts.missing() == [0]
    assert not _own_ray_processes()


@pytest.mark.slow
@pytest.mark.usefixtures("own_folder")
def test_a_file_that_kills_its_worker_is_not_tried_for_ever(
    promoted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_ray, "LOSSES_SURVIVED", 1)
    files = [BatchFile(DeadlyPath(), 1, 1)]  # type: ignore[arg-type]
    with Registry.open(promoted / "mlflow") as registry:
        package = registry.package("1")
    parts = Parts(tmp_path / "parts", rows=1, size=ROWS_PER_PART, classes=read_card(package).classes)
    recipe = ModelRecipe("1", package, packaged(Runtime.OPENVINO, package))
    with pytest.raises(TailsightError, match=r"The Ray cluster gave up: .*the same command goes on with the others"):
        compute_parts_with_ray(files, parts, [0], recipe, batch_size=64, address=None, progress=SILENT)
    assert not _own_ray_processes()


def test_a_cluster_that_does_not_answer_is_refused_in_a_sentence(promoted: Path, new_images: Path) -> None:
    out = promoted.parent / "s.parquet"
    words = ("score", str(new_images), "--out", str(out), "--engine", "ray", "--ray-address")
    answer = tailsight(promoted, *words, f"127.0.0.1:{free_port()}")
    assert answer.code == 1
    assert "cannot be reached" in answer.stderr
    assert "ray start --head" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (promoted / "scores").exists()


def test_another_program_at_the_address_is_noticed_at_once() -> None:
    class Talker(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Talker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(Unreachable, match="another program answers there"):
            check_engine("ray", f"127.0.0.1:{server.server_address[1]}")
        server.shutdown()


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:", ":6379"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match="is not the address of a Ray cluster"):
        check_engine("ray", address)


def test_an_address_without_the_engine_is_refused() -> None:
    with pytest.raises(BadInput, match="--ray-address is of --engine ray alone"):
        check_engine("local", "127.0.0.1:6379")


def test_a_missing_extra_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"needs Ray, which is not installed. Install it with: pip install"):
        check_engine("ray")
