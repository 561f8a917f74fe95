"""What somebody would write who scores images once: a dataset, a data loader, Pillow, torch in eager mode, Parquet.

Images are resized as the model was trained, by OpenCV's area averaging: Pillow has no such filter, and with its nearest
one (BOX, which takes whole pixels) some images get another class.

    python tests/benchmarks/plain_scoring.py PACKAGE FOLDER OUT.parquet THREADS

Prints the seconds from the first file to the finished table as JSON; the network, the preprocessing and the number of
threads are those of the model that ``tailsight score`` runs.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from domain_models.model_package import load_package
from domain_models.preprocessing import Preprocessing


class Files(Dataset[torch.Tensor]):
    """Image files as normalised tensors [3, H, W]."""

    def __init__(self, paths: list[Path], spec: Preprocessing) -> None:
        self.paths, self.spec = paths, spec
        self.mean = torch.tensor(spec.mean).view(3, 1, 1)
        self.std = torch.tensor(spec.std).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            whole = np.asarray(image.convert("L" if self.spec.channels == 1 else "RGB"))
        small = cv2.resize(whole, (self.spec.width, self.spec.height), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(small.astype(np.float32) / 255.0)
        pixels = pixels.expand(3, -1, -1) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        return (pixels - self.mean) / self.std


def main() -> None:
    """Score a folder."""
    package, folder, out, threads = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    network, card = load_package(package)
    paths = sorted(path for path in folder.rglob("*") if path.suffix == ".png")
    began = time.perf_counter()
    loader = DataLoader(Files(paths, card.preprocessing), batch_size=64, num_workers=threads)
    with torch.inference_mode():
        logits = [network(batch).numpy() for batch in loader]
    probabilities = card.probabilities(np.concatenate(logits))
    table = pd.DataFrame(probabilities, columns=[f"prob_{name}" for name in card.classes])
    table.insert(0, "path", [str(path) for path in paths])
    table.insert(1, "predicted", [card.classes[i] for i in card.decision_costs.predicted(probabilities)])
    table.to_parquet(out)
    print(json.dumps({"seconds": time.perf_counter() - began, "images": len(paths)}))


if __name__ == "__main__":
    main()
