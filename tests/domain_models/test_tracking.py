"""The registry on a real MLflow store: once per run, whatever is killed; plain files; nothing said, nothing sent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import BadInput, IntegrityError, NotFound
from data_contracts.vocabulary import Alias
from domain_models.tracking import Registry
from domain_models.tracking.entries import entity_keys


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry without models: MLflow takes seconds to make one, so the tests copy this."""
    folder = tmp_path_factory.mktemp("registry") / "mlflow"
    Registry.open(folder).close()
    return folder


@pytest.fixture
def folder(made_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_once, tmp_path / "work space ü" / "mlflow"))


@pytest.fixture
def registry(folder: Path) -> Iterator[Registry]:
    with Registry.open(folder) as opened:
        yield opened


@pytest.fixture
def package(tmp_path: Path) -> Path:
    content = tmp_path / "package"
    (content / "extra").mkdir(parents=True)
    (content / "model.json").write_text('{"classes": ["a", "b"]}')
    (content / "model.safetensors").write_bytes(os.urandom(3_000_000))
    (content / "extra" / "note.txt").write_text("x")
    return content


def test_a_run_is_registered_once_however_often_it_is_asked(registry: Registry, package: Path) -> None:
    first = registry.register(package, run_key="r-1", params={"lr": 0.1}, metrics={"f1": 0.5}, tags={"d": "1"})
    again = registry.register(package, run_key="r-1", params={"lr": 0.2}, metrics={"f1": 0.6})
    other = registry.register(package, run_key="r-2")
    assert (first, again, other) == ("1", "1", "2")
    assert [info.version for info in registry.versions()] == ["2", "1"]
    info = registry.info("1")
    assert info.run_key == "r-1"
    assert info.params == {"lr": "0.1"}
    assert info.metrics == {"f1": 0.5}
    assert info.tags == {"d": "1"}


def test_the_package_comes_back_byte_for_byte_after_opening_again(folder: Path, package: Path) -> None:
    with Registry.open(folder) as registry:
        version = registry.register(package, run_key="r")
    shutil.rmtree(package / "extra")
    with Registry.open(folder) as registry:
        stored = registry.package(version)
    assert (stored / "model.safetensors").read_bytes() == (package / "model.safetensors").read_bytes()
    assert (stored / "extra" / "note.txt").read_text() == "x"
    assert stored.is_relative_to(folder)


def test_a_changed_or_missing_file_is_noticed(registry: Registry, package: Path) -> None:
    stored = registry.package(registry.register(package, run_key="r"))
    (stored / "model.json").write_text("{}")
    with pytest.raises(IntegrityError, match="changed since it was registered"):
        registry.package("1")
    shutil.rmtree(stored)
    with pytest.raises(NotFound, match="are gone"):
        registry.package("1")


def test_a_moved_workspace_still_knows_its_packages(folder: Path, package: Path, tmp_path: Path) -> None:
    with Registry.open(folder) as registry:
        registry.register(package, run_key="r")
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    with Registry.open(moved) as registry:
        assert registry.package("1").is_relative_to(moved)
        assert registry.register(package, run_key="r2") == "2"
        assert registry.package("2").is_relative_to(moved)
    assert not folder.exists()


def test_an_alias_names_one_version_at_a_time(registry: Registry, package: Path) -> None:
    assert registry.alias(Alias.CHAMPION) is None
    for key in ("r-1", "r-2"):
        registry.register(package, run_key=key)
    registry.set_alias(Alias.CHAMPION, "1")
    registry.set_alias("candidate", "2")
    assert registry.resolve("champion") == "1"
    registry.set_alias(Alias.CHAMPION, "2")
    assert registry.alias("champion") == "2"
    assert registry.info("2").aliases == ("candidate", "champion")
    assert registry.info("1").aliases == ()
    registry.remove_alias("champion")
    registry.remove_alias("champion")
    assert registry.alias("champion") is None


def test_what_does_not_exist_is_named_with_what_does(registry: Registry, package: Path) -> None:
    registry.register(package, run_key="r")
    for name in ("2", "latest", "v1", "0x1", "", "²"):
        with pytest.raises(NotFound, match="Versions: 1; aliases: candidate, challenger, champion"):
            registry.resolve(name)
    with pytest.raises(NotFound, match="There is no champion yet"):
        registry.resolve("champion")
    with pytest.raises(NotFound):
        registry.set_alias("champion", "7")
    with pytest.raises(ValueError, match="production"):
        registry.set_alias("production", "1")


def test_figures_of_classes_with_any_name_are_kept_apart(registry: Registry, package: Path) -> None:
    metrics = {"recall/a$": 0.1, "recall/a&": 0.2, "recall/红铁皮": 0.3, "../x": 0.4, "none": None, "nan": float("nan")}
    registry.register(package, run_key="r", metrics=metrics, params={f"p{i}": i for i in range(250)})
    info = registry.info("1")
    assert info.metrics == {"recall/a_": 0.1, "recall/a_ 2": 0.2, "recall/红铁皮": 0.3, "x": 0.4}
    assert len(info.params) == 250
    registry.log_metrics("1", {"test.f1": 0.7})
    assert registry.info("1").metrics["test.f1"] == 0.7
    assert entity_keys(["", "a/", "/", "a"]) == ["_", "a", "_ 2", "a 2"]


def test_files_may_be_attached_beside_the_package(registry: Registry, package: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("one")
    registry.register(package, run_key="r", artifacts=[tmp_path / "report.html"])
    beside = registry.package("1").parent / "report.html"
    assert beside.read_text() == "one"
    (tmp_path / "report.html").write_text("two")
    registry.attach("1", tmp_path / "report.html")
    assert beside.read_text() == "two"
    registry.package("1")
    with pytest.raises(NotFound):
        registry.attach("1", tmp_path / "missing")


def test_bad_requests_are_refused(registry: Registry, package: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model package"):
        registry.register(tmp_path / "missing", run_key="r")
    for key in ("", "a b", "a'b", "x" * 121):
        with pytest.raises(ValueError, match="run_key"):
            registry.register(package, run_key=key)
    with pytest.raises(ValueError, match="reserved"):
        registry.register(package, run_key="r", tags={"tailsight.run_key": "x"})
    with pytest.raises(BadInput, match="cannot hold a model registry"):
        Registry.open(tmp_path / "100%")
    assert registry.versions() == []


def test_no_pickle_is_written(folder: Path, registry: Registry, package: Path) -> None:
    registry.register(package, run_key="r", params={"lr": 0.1}, metrics={"f1": 0.5}, tags={"d": "1"})
    registry.set_alias("champion", "1")
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert written
    for path in written:
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".bin"}
        if path.suffix != ".safetensors":  # random bytes
            assert not path.read_bytes().startswith(tuple(bytes([0x80, protocol]) for protocol in range(2, 6)))


def _die_at(call: int) -> Callable[[str, Callable[..., Any]], Callable[..., Any]]:
    """Wrap functions so that the process is killed just before the call of this number."""
    made = [0]

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **keywords: Any) -> Any:
            made[0] += 1
            if made[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **keywords)

        return counted

    return wrap


def _register_and_die(folder: Path, package: Path, call: int) -> bool:
    """Register in a child process that is killed before one of its writes; true where it lived to the end."""
    child = os.fork()
    if child == 0:
        try:
            from mlflow import MlflowClient

            from domain_models.tracking import artifacts

            wrap = _die_at(call)
            for name in (
                "create_experiment",
                "create_run",
                "log_batch",
                "set_terminated",
                "create_registered_model",
                "create_model_version",
            ):
                setattr(MlflowClient, name, wrap(name, getattr(MlflowClient, name)))
            artifacts.copy_whole = wrap("copy_whole", artifacts.copy_whole)
            with Registry.open(folder) as registry:
                registry.register(
                    package, run_key="r", params={"lr": 1}, metrics={"f1": 0.5}, artifacts=[package / "extra"]
                )
        except BaseException:
            os._exit(9)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


def test_a_kill_between_any_two_writes_doubles_and_loses_nothing(
    made_once: Path, package: Path, tmp_path: Path
) -> None:
    call, lived = 0, False
    while not lived:
        call += 1
        folder = Path(shutil.copytree(made_once, tmp_path / f"killed-{call}"))
        lived = _register_and_die(folder, package, call)
        with Registry.open(folder) as registry:
            assert registry.register(package, run_key="r", params={"lr": 1}, metrics={"f1": 0.5}) == "1"
            (info,) = registry.versions()
            assert info.metrics == {"f1": 0.5}
            registry.package("1")
            runs = registry._client.search_runs([registry._client.get_experiment_by_name("tailsight").experiment_id])
            assert len(runs) == 1
            assert len(registry._client.get_metric_history(runs[0].info.run_id, "f1")) == 1
            assert runs[0].info.status == "FINISHED"
        assert not list(folder.rglob(".new-*"))
    assert call >= 8


_PROBE = """
import json, os, sys, threading
before = dict(os.environ)
from domain_models.tracking import Registry
assert "mlflow" not in sys.modules
from pathlib import Path
with Registry.open(Path(sys.argv[1])) as registry:
    registry.register(Path(sys.argv[2]), run_key="r", metrics={"f1": 1.0})
    registry.set_alias("champion", "1")
from mlflow.telemetry.client import get_telemetry_client
print(json.dumps({
    "environment": dict(os.environ) == before,
    "telemetry": get_telemetry_client() is None,
    "threads": [t.name for t in threading.enumerate() if "telemetry" in t.name.lower()],
    "git": "git" in sys.modules,
    "torch": "torch" in sys.modules,
}))
"""


def test_it_is_silent_sends_nothing_and_litters_nowhere(tmp_path: Path, package: Path) -> None:
    here = tmp_path / "somewhere"
    here.mkdir()
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_CURRENT_TEST")}
    clean |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        clean.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(tmp_path / "new" / "mlflow"), str(package)],
        cwd=here,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found == {"environment": True, "telemetry": True, "threads": [], "git": False, "torch": False}
    assert list(here.iterdir()) == []


def test_a_store_killed_while_it_is_made_is_made_again(tmp_path: Path, made_once: Path) -> None:
    folder = tmp_path / "mlflow"
    folder.mkdir()
    scratch = folder / ".new-left-behind"
    scratch.mkdir()
    (scratch / "mlflow.sqlite").write_bytes((made_once / "mlflow.sqlite").read_bytes()[:50_000])
    with Registry.open(folder) as registry:
        assert registry.versions() == []
    assert not scratch.exists()


def test_half_a_package_left_by_a_kill_is_cleared_away(registry: Registry, package: Path) -> None:
    beside = registry.package(registry.register(package, run_key="r")).parent
    (beside / ".new-half").mkdir()
    (beside / ".new-half" / "model.safetensors").write_bytes(b"half")
    registry.attach("1", package / "extra")
    assert sorted(path.name for path in beside.iterdir()) == ["extra", "package"]


def test_two_processes_may_register_at_once(folder: Path, package: Path) -> None:
    children = []
    for key in ("same", "same", "other"):
        child = os.fork()
        if child == 0:
            try:
                with Registry.open(folder) as registry:
                    registry.register(package, run_key=key)
            except BaseException:
                os._exit(9)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    with Registry.open(folder) as registry:
        assert sorted(info.run_key for info in registry.versions()) == ["other", "same"]
