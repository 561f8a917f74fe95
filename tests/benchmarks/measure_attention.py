"""Train with and without CBAM on the demo's real images and say what it does to the most confused pair.

    python tests/benchmarks/measure_attention.py [--seeds 3] [--epochs 6] [--folder DIR]

Writes results/attention-cbam.json. With --folder the trainings are kept, and go on there after a kill.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import date
from pathlib import Path

from machine import machine

from data_contracts.blobs import Blobs
from data_contracts.ledger.connect import Ledger
from data_contracts.ledger.roots import registered_roots
from data_contracts.progress import SilentProgress
from data_contracts.workspace import Workspace
from domain_models.attention_comparison import compare_attention
from domain_models.image_cache import build_image_cache
from domain_models.training_data import TrainingData
from pipelines.demo_images import lay_out
from pipelines.steps.curate import curate
from pipelines.steps.dataset import load_dataset
from pipelines.steps.ingest import IngestRequest, ingest
from pipelines.steps.initialise import initialise
from pipelines.steps.prepared_images import image_cache_folder
from pipelines.steps.train import TrainRequest, plan

RESULT = Path(__file__).resolve().parent / "results" / "attention-cbam.json"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="tailsight-attention-"))
    workspace = Workspace(folder)
    silent = SilentProgress()
    initialise(workspace, "solar-el")
    images = lay_out(folder / "demo", silent)
    ingest(workspace, IngestRequest(images=images.labelled, labels=images.labels, who="benchmark"), silent)
    curate(workspace)
    dataset, manifest = load_dataset(workspace)
    request = TrainRequest(
        preset="standard", overrides=(f"epochs={arguments.epochs}", "second_stage=none", "cross_fit_folds=0")
    )
    config, sentences = plan(workspace, request, manifest, workspace.profile)
    labelled = manifest[manifest["split"].isin(["train", "val"])]
    with Ledger.open(workspace) as ledger:
        blobs = Blobs(registered_roots(ledger))
    items = list(zip(labelled["image_id"], labelled["uri"], strict=True))
    cache = build_image_cache(image_cache_folder(workspace), items, blobs, config.preprocessing, processes=2)
    data = TrainingData.of_manifest(labelled, dataset.taxonomy.names, cache)
    seeds = range(arguments.seeds)
    report = compare_attention(data, config, folder / "attention", seeds=seeds)
    print(*sentences, report.sentence, sep="\n", file=sys.stderr)
    RESULT.parent.mkdir(exist_ok=True)
    found = {**report.model_dump(mode="json"), "sentence": report.sentence, "plan": list(sentences)}
    found |= {"machine": machine(), "date": date.today().isoformat()}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
