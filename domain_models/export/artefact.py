"""An exported model as a folder: the graph, what it expects and means, and the gate's report."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_contracts.errors import IntegrityError, NotFound
from data_contracts.workspace import write_atomically
from domain_models.export.kinds import GRAPH_FILE, ExportFormat, Precision
from domain_models.export.parity import ParityReport
from domain_models.graph_names import GRAPH_INPUT, GRAPH_OUTPUT
from domain_models.model_card import ModelCard
from domain_models.runtimes import Computable, Runtime
from domain_models.second_look import SecondLook

MANIFEST_FILE = "manifest.json"
FOLDER_PREFIX = "export-"
"""How the folders of artefacts are called beside a version's package."""


class Manifest(BaseModel):
    """Everything that somebody who only has this folder needs to use the graph rightly.

    Attributes:
        arithmetic: the numbers that weights are stored in and that the graph computes with, in words.
        card: preprocessing, classes, calibration (with the temperature), decision costs and triage rule of the model.
        files: sha256 of each file, by name.
        made: how: calibration images, further training.
        second_look: which images are to be computed again in 32-bit floats; the gate judged it so.
        tools: versions of what wrote and checked it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    format: ExportFormat
    precision: Precision
    arithmetic: str
    input: str = f"{GRAPH_INPUT}: uint8 [n, height, width, channels], as the preprocessing below leaves an image"
    output: str = f"{GRAPH_OUTPUT}: float32 [n, classes], before the calibration below"
    model_version: str
    package_sha256: str
    card: ModelCard
    files: dict[str, str]
    size_bytes: int = Field(ge=0)
    made: dict[str, Any] = Field(default_factory=dict)
    second_look: SecondLook | None = None
    tools: dict[str, str] = Field(default_factory=dict)
    machine: str = ""
    parity: ParityReport
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def folder_name(self) -> str:
        """How its folder is called beside the package."""
        return f"{FOLDER_PREFIX}{self.format.value}-{self.precision.value}"

    def computable(self, folder: Path) -> Computable:
        """What a runtime opens, where the artefact lies in this folder."""
        graph = folder / GRAPH_FILE[self.format]
        return Computable(Runtime(self.format.value), graph, self.precision, True, self.second_look)


def file_hashes(folder: Path) -> dict[str, str]:
    """sha256 of each file of an artefact but the manifest, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST_FILE
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, last: a folder with one is whole."""
    write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")


def read_artefact(folder: Path) -> Manifest:
    """The manifest of an artefact whose files are still those that passed the gate.

    Raises:
        NotFound: there is no artefact.
        IntegrityError: the manifest cannot be read, or a file changed since.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise NotFound(f"{folder} holds no exported model ({MANIFEST_FILE} is missing).")
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"The manifest {path} cannot be read ({type(error).__name__}).",
            cause="The file was damaged, or written by another version.",
            remedy="Export again.",
        ) from None
    if file_hashes(folder) != manifest.files:
        raise IntegrityError(
            f"The exported model in {folder} is not the one that passed the gate.",
            cause="A file was damaged or replaced.",
            remedy="Export again.",
        )
    return manifest
