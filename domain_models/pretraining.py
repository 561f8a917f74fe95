"""The epoch loop of self-supervised pretraining.

Everything random in an epoch comes from (seed, epoch, image), so a pretraining that was killed in any epoch and run
again ends with the weights of one that was not.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data_contracts.errors import BadInput
from data_contracts.progress import SILENT, Progress
from domain_models.augmentation import strong_settings
from domain_models.backbones import Classifier
from domain_models.batches import AugmentedImages
from domain_models.checkpoints import load_checkpoint, save_checkpoint
from domain_models.learned_state import learned_state, parameter_groups, set_state
from domain_models.number_formats import AUTOCAST, autocast
from domain_models.pretraining_config import PretrainingConfig
from domain_models.pretraining_methods import METHODS
from domain_models.processor_memory import keep_freed_memory
from domain_models.schedules import rate_factor
from domain_models.stage_split import freeze_stages, set_training_mode
from domain_models.training_data import UnlabelledImages
from domain_models.training_phases import fresh_network

FEWEST = 2
"""Images in a batch: an image alone has no other to be told from."""


@dataclass(frozen=True)
class Pretrained:
    """The network with what it learned (on the CPU, in evaluation mode), a row for each epoch, and seconds."""

    network: Classifier
    history: list[dict[str, float]]
    seconds: float


def pretrain(
    images: UnlabelledImages,
    config: PretrainingConfig,
    run_dir: Path,
    progress: Progress = SILENT,
    *,
    after_epoch: Callable[[Mapping[str, float]], None] | None = None,
) -> Pretrained:
    """Let the backbone learn from images alone, beginning with the weights that the configuration names.

    Args:
        images: what it learns from; labels play no part.
        config: how.
        run_dir: holds the checkpoint of this pretraining and of no other.
        progress: told of each image, with loss and images per second.
        after_epoch: told of each epoch; may raise to end it.

    Raises:
        BadInput: fewer than two images, or the backbone or its weights do not exist.
        IntegrityError: ``run_dir`` belongs to another pretraining, or its checkpoint is damaged.
    """
    if len(images) < FEWEST:
        raise BadInput(f"There are {len(images)} images to learn from; at least {FEWEST} are needed.")
    keep_freed_memory()
    run, owner, path = _Run(images, config), pretraining_key(images, config), run_dir / "epoch.pt"
    state = load_checkpoint(path, owner)
    if state is not None:
        run.restore(state)
    epochs = config.training.epochs
    with progress.step("Pretraining", total=epochs * len(images)) as step:
        step.advance(run.epoch * len(images))
        while run.epoch < epochs:
            run.train_epoch(lambda n, note: step.advance(n, note))
            save_checkpoint(path, run.state(), owner)
            if after_epoch is not None:
                after_epoch(run.history[-1])
    return Pretrained(run.network.to("cpu").eval(), run.history, sum(row["seconds"] for row in run.history))


def pretraining_key(images: UnlabelledImages, config: PretrainingConfig) -> str:
    """16 hex digits that change with the configuration or any image."""
    return hashlib.sha256("\0".join((config.key, *images.image_ids)).encode()).hexdigest()[:16]


class _Run:
    """The state of one pretraining: everything that a checkpoint must bring back."""

    def __init__(self, images: UnlabelledImages, config: PretrainingConfig) -> None:
        self.config, self.count = config, len(images)
        how = config.training
        self.network = fresh_network(how, FEWEST)  # its classifier is not used
        self.objective = METHODS[config.method](config, self.network).to(how.device)
        self.network.to(device=how.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen = freeze_stages(self.network, how.frozen_stages)
        strong = strong_settings(how.augmentation, config.strength)
        update = {"augmentation": strong, "augment": True}
        self.source = AugmentedImages(images.images, images.image_ids, how.model_copy(update=update))
        groups = parameter_groups(self.network, how)
        own = {"params": list(self.objective.parameters()), "weight_decay": how.weight_decay, "rate_factor": 1.0}
        self.optimiser = torch.optim.AdamW([*groups, own], lr=how.learning_rate, fused=True)
        half = AUTOCAST[how.precision](torch.device(how.device).type) is torch.float16
        self.scaler = torch.amp.GradScaler(torch.device(how.device).type, enabled=half and how.device != "cpu")
        self.steps = max(1, min(round(self.count / how.batch_size), self.count // FEWEST))
        self.epoch = 0
        self.history: list[dict[str, float]] = []

    def train_epoch(self, report: Callable[[int, str], None]) -> None:
        """One epoch over all images."""
        how, epoch, started = self.config.training, self.epoch + 1, time.perf_counter()
        chance = np.random.default_rng([how.seed, epoch])
        torch.manual_seed(int(chance.integers(2**31)))  # dropout and drop path
        set_training_mode(self.network, self.frozen, keep_batch_statistics=how.keeps_pretrained_statistics)
        self.objective.train()
        total, seen = 0.0, 0
        for number, positions in enumerate(np.array_split(chance.permutation(self.count), self.steps)):
            self._set_rate(self.epoch * self.steps + number)
            total += self._train_batch(positions, epoch) * len(positions)
            seen += len(positions)
            report(len(positions), f"loss {total / seen:.3f}, {seen / (time.perf_counter() - started):.0f} images/s")
        self.epoch = epoch
        row = {"epoch": float(epoch), "loss": total / seen, "seconds": time.perf_counter() - started}
        self.history.append(row)

    def _train_batch(self, positions: NDArray[np.int64], epoch: int) -> float:
        how, wanted = self.config.training, self.objective.views
        numbers = range(wanted * epoch, wanted * (epoch + 1))  # no two views of an image have the same
        views = [self.source.inputs(positions, number).to(how.device) for number in numbers]
        with autocast(how):
            loss = self.objective(self.network, views)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, how.gradient_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.objective.after_step(self.network)
        return float(loss.detach())

    def _set_rate(self, step: int) -> None:
        how = self.config.training
        warm_up = round(how.warm_up_epochs * self.steps)
        factor = rate_factor(step, self.steps * how.epochs, warm_up, how.schedule, how.final_rate_factor)
        for group in self.optimiser.param_groups:
            group["lr"] = how.learning_rate * group["rate_factor"] * factor

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "network": learned_state(self.network),
            "objective": learned_state(self.objective),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        set_state(self.network, state["network"])
        set_state(self.objective, state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.history = state["epoch"], state["history"]
