"""CIFAR-100-LT as its protocol says it, from a file of the binary version's shape."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("cifar100_long_tail", "benchmark_sets"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_counts_are_those_of_the_protocol() -> None:
    from cifar100_long_tail import counts_of

    counts = counts_of()
    assert (counts[0], counts[-1], counts.sum()) == (500, 5, 10847)
    assert (np.diff(counts) <= 0).all()


def test_images_labels_and_splits_come_out_as_they_went_in(tmp_path: Path) -> None:
    from benchmark_sets import read_cifar100_long_tail, write_labels

    chance = np.random.default_rng(0)
    labels = {"train.bin": [99] * 7 + [0, 1], "test.bin": [99, 0]}
    pixels = {name: chance.integers(0, 256, (len(own), 3, 32, 32), dtype=np.uint8) for name, own in labels.items()}
    for name, own in labels.items():
        rows = [bytes([0, label]) + image.tobytes() for label, image in zip(own, pixels[name], strict=True)]
        (tmp_path / name).write_bytes(b"".join(rows))
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"class{i}" for i in range(100)))
    data = read_cifar100_long_tail(tmp_path, tmp_path / "images")
    assert [label for _, label, _ in data.rows].count("class99") == 5 + 1  # the rarest keeps five, and its test image
    assert sorted(data.splits.values()) == ["test"] * 2 + ["train"] * 7
    first = cv2.cvtColor(cv2.imread(data.rows[0][0]), cv2.COLOR_BGR2RGB)
    assert (first == pixels["train.bin"][0].transpose(1, 2, 0)).all()
    write_labels(tmp_path / "labels.csv", data, {path: label for path, label, _ in data.rows})
    with (tmp_path / "labels.csv").open() as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"train", "test"}
