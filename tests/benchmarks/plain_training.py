"""What a competent user would write to fine-tune: a dataset of files, a data loader with workers, timm, AdamW, cosine.

    python tests/benchmarks/plain_training.py TASK.json

TASK.json (:func:`measure_training.task_of`) names the files, their classes and the settings; network, first weights,
image size, batch size, epochs, augmentation, learning rate and threads are those of our own loop. Files are decoded
with Pillow in every epoch, images are augmented by the workers, the network computes in torch's eager mode and default
memory format. Prints as JSON: seconds of training and of all in each epoch, the macro-F1 on validation after each, and
the class of each test image after the last, which is in no time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from domain_models.augmentation import build_policy
from domain_models.backbones import build_network
from domain_models.linear_probe import macro_f1
from domain_models.training_config import TrainingConfig
from domain_models.training_phases import architecture_of


class Files(Dataset[tuple[torch.Tensor, int]]):
    """Image files, resized, augmented where asked for, as normalised tensors [3, H, W]."""

    def __init__(self, files: list[tuple[str, int]], config: TrainingConfig, *, augment: bool) -> None:
        self.files, self.spec = files, config.preprocessing
        self.policy = build_policy(config.augmentation, self.spec.channels) if augment else None
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (self.spec.mean, self.spec.std))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """BOX averages areas, as the model's own preprocessing does when it shrinks."""
        path, label = self.files[index]
        with Image.open(path) as image:
            read = image.convert("L" if self.spec.channels == 1 else "RGB")
            small = read.resize((self.spec.width, self.spec.height), Image.Resampling.BOX)
            pixels = np.asarray(small)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if self.policy is not None:
            pixels = self.policy(image=pixels)["image"]
        values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255.0
        return (values.expand(3, -1, -1) - self.mean) / self.std, label


def seed_worker(worker: int) -> None:
    """Each worker, in each epoch, augments in its own way."""
    policy = torch.utils.data.get_worker_info().dataset.policy  # type: ignore[union-attr]
    if policy is not None:
        policy.set_random_seed(torch.initial_seed() % 2**32 + worker)


def predicted(network: nn.Module, loader: DataLoader[Any]) -> NDArray[np.int64]:
    """Classes of images that are not augmented."""
    network.eval()
    with torch.inference_mode():
        return np.concatenate([network(images).argmax(dim=1).numpy() for images, _ in loader])


def main() -> None:
    """Train."""
    task = json.loads(Path(sys.argv[1]).read_text())
    config = TrainingConfig.model_validate(task["config"])
    torch.set_num_threads(task["threads"])
    torch.manual_seed(config.seed)
    workers = {"num_workers": task["threads"], "persistent_workers": True, "worker_init_fn": seed_worker}
    train, val = ([(path, label) for path, label in task[split]] for split in ("train", "val"))
    began = time.perf_counter()
    network = build_network(architecture_of(config, task["classes"]), config.weights)
    network.classifier.reset_parameters()
    loader = DataLoader(Files(train, config, augment=True), config.batch_size, shuffle=True, drop_last=True, **workers)
    val_loader = DataLoader(Files(val, config, augment=False), 2 * config.batch_size, **workers)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps, warm_up = len(loader) * config.epochs, max(1, round(config.warm_up_epochs * len(loader)))
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimiser,
        [
            torch.optim.lr_scheduler.LinearLR(optimiser, 1e-2, total_iters=warm_up),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps - warm_up)),
        ],
        [warm_up],
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    labels, epochs = np.asarray([label for _, label in val]), []
    for _ in range(config.epochs):
        started, seen = time.perf_counter(), 0
        network.train()
        for images, truth in loader:
            optimiser.zero_grad()
            criterion(network(images), truth).backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.gradient_norm)
            optimiser.step()
            schedule.step()
            seen += len(images)
        trained = time.perf_counter()
        score = macro_f1(predicted(network, val_loader), labels)
        epochs.append(
            {"images": seen, "seconds": trained - started, "reached": time.perf_counter() - began, "macro_f1": score}
        )
    test = DataLoader(Files([(path, label) for path, label in task["test"]], config, augment=False), 64)
    print(json.dumps({"epochs": epochs, "test_predicted": predicted(network, test).tolist()}))


if __name__ == "__main__":
    main()
