"""CIFAR-100-LT by its usual protocol, from the files of CIFAR-100's binary version, which a user brings along.

The protocol (Cui et al., CVPR 2019): class ``i`` of 100 keeps the first ``500 * factor ** (-i / 99)`` of its training
images, and the test set stays as it is, 100 images of each class. Published figures train a ResNet-32 from nothing for
200 epochs at 32 px; ours fine-tune a pretrained backbone on enlarged images, so theirs can only stand beside ours.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

RECORD = 2 + 3 * 32 * 32
CLASSES = 100
PER_CLASS = 500
IMBALANCE = 100.0


def counts_of(imbalance: float = IMBALANCE) -> NDArray[np.int64]:
    """int64 [100], falling: how many training images each class keeps."""
    kept = PER_CLASS * imbalance ** (-np.arange(CLASSES) / (CLASSES - 1))
    return kept.astype(np.int64)


def write_images(source: Path, folder: Path) -> list[tuple[str, str, str]]:
    """PNGs of the long-tailed training images and of all test images below ``folder``: (path, class, split) each.

    Args:
        source: folder with ``train.bin``, ``test.bin`` and ``fine_label_names.txt``.
        folder: images that are there are not written again.
    """
    names = (source / "fine_label_names.txt").read_text().split()
    rows: list[tuple[str, str, str]] = []
    for file, split, most in (("train.bin", "train", counts_of()), ("test.bin", "test", None)):
        records = np.frombuffer((source / file).read_bytes(), dtype=np.uint8).reshape(-1, RECORD)
        taken = np.zeros(CLASSES, dtype=np.int64)
        for number, record in enumerate(records):
            label = int(record[1])
            if most is not None and taken[label] >= most[label]:
                continue
            taken[label] += 1
            path = folder / split / f"{number:05d}.png"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = record[2:].reshape(3, 32, 32).transpose(1, 2, 0)
                cv2.imwrite(str(path), pixels[:, :, ::-1])
            rows.append((str(path), names[label], split))
    return rows
