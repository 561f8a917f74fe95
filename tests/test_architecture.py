"""The house stays as ARCHITECTURE.md draws it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("data_contracts", "domain_models", "pipelines", "review_app", "deploy")
TOP_LEVEL = {
    "pyproject.toml", "README.md", "pipelines", "domain_models", "review_app", "data_contracts", "tests", "deploy",
    "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "Makefile", "constraints.txt",
    ".ci", ".gitignore",
}  # fmt: skip
LONGEST_MODULE = 300
REASON_FOR_LENGTH = "Long because"


def _tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of tracked files")
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in listing.splitlines() if (ROOT / line).exists()]


def _modules() -> list[Path]:
    return sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def test_the_top_level_holds_what_the_design_fixes_and_nothing_else() -> None:
    assert {path.parts[0] for path in _tracked()} == TOP_LEVEL


def test_the_room_map_names_every_module_once_and_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    room_map = re.search(r"<!-- map -->(.*?)<!-- /map -->", text, re.DOTALL)
    assert room_map, "ARCHITECTURE.md has no map"
    named = re.findall(r"^\s*(?:- )?`([\w/.]+\.py)`", room_map.group(1), re.MULTILINE)
    modules = [str(path) for path in _modules() if path.name != "__init__.py" and "versions" not in path.parts]
    assert sorted(named) == sorted(modules)


def test_no_module_is_long_without_a_stated_reason() -> None:
    long = {
        str(path): lines
        for path in _modules()
        if (lines := len((ROOT / path).read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
        and REASON_FOR_LENGTH not in (ROOT / path).read_text(encoding="utf-8")
    }
    assert not long


@pytest.mark.parametrize(
    ("module", "statement", "broken_contract"),
    [
        ("data_contracts/taxonomy.py", "import torch", "data_contracts knows no framework"),
        ("data_contracts/taxonomy.py", "import domain_models", "Imports point down only"),
        ("domain_models/__init__.py", "import mlflow", "mlflow is imported by domain_models.tracking alone"),
        ("domain_models/__init__.py", "import dagster", "domain_models knows neither Dagster nor Streamlit"),
        ("pipelines/__init__.py", "import streamlit", "pipelines does not import Streamlit"),
        ("pipelines/__init__.py", "import review_app", "Imports point down only"),
        ("pipelines/__init__.py", "import mlflow", "mlflow is imported by domain_models.tracking alone"),
        ("review_app/__init__.py", "import domain_models", "review_app holds no model"),
        ("deploy/__init__.py", "import dagster", "deploy knows neither Dagster nor Streamlit nor MLflow"),
    ],
)
def test_a_forbidden_import_is_refused(tmp_path: Path, module: str, statement: str, broken_contract: str) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / module
    planted.write_text(
        f"{statement}\n{planted.read_text(encoding='utf-8')}".replace("from __future__ import annotations\n", "")
    )
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [linter, "--no-cache", "--no-logo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert re.search(rf"{re.escape(broken_contract)}.*BROKEN", run.stdout), run.stdout
