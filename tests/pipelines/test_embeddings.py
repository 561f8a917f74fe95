"""Embeddings are computed once and stay in a file that no round ever reads whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.blobs import Blobs
from data_contracts.ledger.images import images_frame
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import SILENT
from data_contracts.workspace import Workspace
from domain_models.architecture import Architecture
from domain_models.backbones import WeightSource, build_network
from domain_models.preprocessing import Preprocessing
from pipelines.steps import embeddings
from pipelines.steps.embeddings import Embedder, Item, embeddings_of, mapped_embeddings_of
from pipelines.steps.ledger import open_ledger


@pytest.fixture
def scene(curated_workspace: Path, tmp_path: Path) -> tuple[Workspace, Blobs, Embedder, list[Item]]:
    """A workspace, a small network without any training, and thirty images, one of which is gone."""
    workspace = Workspace(Path(shutil.copytree(curated_workspace, tmp_path / "workspace")))
    torch.manual_seed(0)
    network = build_network(Architecture(backbone="test_resnet", classes=2), WeightSource.NONE)
    with open_ledger(workspace) as ledger:
        blobs, images = Blobs(registered_roots(ledger)), images_frame(ledger).head(30)
    items = list(zip(images["image_id"], images["uri"], strict=True))
    items[4] = ("f" * 64, items[4][1].rpartition("/")[0] + "/gone.png")
    return workspace, blobs, Embedder.of(network, Preprocessing(height=32, width=32, channels=3)), items


def test_what_was_computed_is_not_computed_again(
    scene: tuple[Workspace, Blobs, Embedder, list[Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, blobs, embedder, items = scene
    first = embeddings_of(workspace, blobs, embedder, items[:12], SILENT)
    folder = workspace.cache / "embeddings" / embedder.key
    assert (folder / "maps.bin").stat().st_size == 11 * first.shape[1] * 2, (
        "float16, and nothing of the one that is gone"
    )
    seen: list[int] = []
    real = embeddings.embed
    monkeypatch.setattr(
        embeddings, "embed", lambda network, rows, spec: seen.append(len(rows)) or real(network, rows, spec)
    )
    monkeypatch.setattr(embeddings, "_PORTION", 5)
    turned = embeddings_of(workspace, blobs, embedder, items[::-1], SILENT)
    assert sum(seen) == 18
    np.testing.assert_array_equal(turned[::-1][:12], first)
    assert np.isnan(turned[25]).all()
    assert np.isfinite(np.delete(turned, 25, axis=0)).all()


def test_of_many_images_no_prepared_pixels_stay(
    scene: tuple[Workspace, Blobs, Embedder, list[Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, blobs, embedder, items = scene
    few = embeddings_of(workspace, blobs, embedder, items, SILENT)
    shutil.rmtree(workspace.cache)
    monkeypatch.setattr(embeddings, "MOST_PREPARED", 10)
    monkeypatch.setattr(embeddings, "_PORTION", 8)
    many = mapped_embeddings_of(workspace, blobs, embedder, items, SILENT)
    np.testing.assert_allclose(many[:], few, atol=2e-3)
    assert [path.name for path in workspace.cache.iterdir()] == ["embeddings"]
    assert [path.name for path in (workspace.cache / "embeddings").iterdir()] == [embedder.key]
