"""The state of one fine-tuning and what an epoch does to it: everything that a checkpoint must bring back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from domain_models.architecture import HeadKind
from domain_models.backbones import Classifier
from domain_models.batches import Batches
from domain_models.calibration import calibrated_nll
from domain_models.class_weights import class_weights
from domain_models.fine_tuned import Memory, Validation
from domain_models.heads import to_unit_rows
from domain_models.inputs_ahead import inputs_ahead
from domain_models.learned_state import learned_state, move_average, parameter_groups, set_state
from domain_models.linear_probe import validation_score
from domain_models.losses import LOSSES, Loss, soft_targets
from domain_models.mixing import mixed_batch
from domain_models.number_formats import AUTOCAST, autocast
from domain_models.pool_learning import PoolLearner
from domain_models.run_profile import Part, Unwatched, Watch
from domain_models.samplers import SAMPLERS
from domain_models.schedules import rate_factor
from domain_models.stage_split import set_training_mode, suffix_of
from domain_models.team import ALONE, Team
from domain_models.training_config import TrainingConfig


class TrainingRun:
    """One fine-tuning under way; arguments as in :func:`~domain_models.fine_tuning.fine_tune`."""

    def __init__(
        self,
        network: Classifier,
        frozen: list[str],
        batches: Batches,
        labels: NDArray[np.int64],
        weights: NDArray[np.float64],
        config: TrainingConfig,
        inputs_are_maps: bool,
        epochs: int,
        memory: Memory | None,
        give_up_above: float | None,
        watch: Watch | None = None,
        team: Team = ALONE,
    ) -> None:
        self.watch, self.team = watch or Unwatched(), team
        self.give_up_above = give_up_above
        self.pool: PoolLearner | None = None
        self.network, self.frozen, self.batches, self.memory = network, frozen, batches, memory
        self.labels, self.weights, self.config = labels, weights, config
        self.inputs_are_maps = inputs_are_maps
        self.part = team.prepared(suffix_of(network, frozen) if inputs_are_maps else network)
        self.learning: nn.Module = self.part
        self.counts = np.bincount(labels[weights > 0], minlength=network.architecture.classes)
        self.loss: Loss = LOSSES[config.loss](config, torch.from_numpy(self.counts))
        self.optimiser = torch.optim.AdamW(parameter_groups(network, config), lr=config.learning_rate, fused=True)
        self.steps_per_epoch = max(1, round(int((weights > 0).sum()) / config.batch_size))
        self.steps = self.steps_per_epoch * epochs
        self.dtype = AUTOCAST[config.precision](torch.device(config.device).type)
        self.scaler = torch.amp.GradScaler(
            torch.device(config.device).type, enabled=self.dtype is torch.float16 and config.device != "cpu"
        )
        self.average = learned_state(network) if config.average_decay and team.rank == 0 else {}
        self.epochs, self.epoch = epochs, 0
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_score = 0, (-1.0, 0.0)
        self.epochs_without_gain = 0

    @property
    def hopeless(self) -> bool:
        """Whether the first epoch says that the others are not worth their time."""
        limit = self.give_up_above
        return limit is not None and bool(self.history) and self.history[0]["val_calibrated_loss"] > limit

    def train_epoch(self, report: Callable[[int, str], None]) -> float:
        """One epoch; returns the mean loss."""
        epoch, config = self.epoch + 1, self.config  # epoch 0 is the plain image
        chance = np.random.default_rng([config.seed, epoch])
        torch.manual_seed(int(chance.integers(2**31)) + self.team.rank)  # dropout and drop path
        done = self.epoch / max(1, self.epochs - 1)
        sampler = config.sampler
        if config.later_sampler is not None and self.epoch >= config.later_sampler_from * self.epochs:
            sampler = config.later_sampler
        order = SAMPLERS[sampler](self.labels, self.weights, chance, done)
        self.class_weights = torch.from_numpy(class_weights(self.counts, config, self.epoch / self.epochs)).float()
        modes = [self.network] if self.part is self.network else [self.part, self.network]
        for whole in modes:  # the part has shells of its own; what it shares gets its mode from the network, last
            frozen = [] if whole is self.part and self.inputs_are_maps else self.frozen
            set_training_mode(whole, frozen, keep_batch_statistics=config.keeps_pretrained_statistics)
        if self.pool is not None:
            self.pool.begin(epoch, len(order), self.steps_per_epoch)
        total, seen, started = 0.0, 0, time.perf_counter()
        # Nearly equal batches: a last batch of one image would break batch normalisation.
        parts = np.array_split(order, self.steps_per_epoch)
        own = [self.team.share(positions) for positions in parts]
        # The order is everybody's; what else is drawn in an epoch is of each process alone.
        mixing = chance if self.team.size == 1 else np.random.default_rng([config.seed, epoch, 2 + self.team.rank])
        with inputs_ahead(self.batches, own, epoch) as prepared:
            for number, positions in enumerate(parts):
                self._set_rate((epoch - 1) * self.steps_per_epoch + number)
                with self.watch.part(Part.INPUTS):
                    inputs = next(prepared).to(config.device)
                loss = self._train_batch(number, own[number], inputs, mixing)
                self.watch.step()
                total, seen = total + loss * len(positions), seen + len(positions)
                speed = seen / (time.perf_counter() - started)
                report(len(positions), f"loss {total / seen:.3f}, {speed:.0f} images/s")
        shared = self.team.total(torch.tensor(total, dtype=torch.float64, device=config.device))
        return float(shared) / self.team.size / max(1, seen)

    def _train_batch(
        self, number: int, positions: NDArray[np.int64], inputs: Tensor, chance: np.random.Generator
    ) -> float:
        config = self.config
        labels = torch.from_numpy(self.labels[positions]).to(config.device)
        targets = soft_targets(labels, self.network.architecture.classes, config.label_smoothing)
        inputs, targets = mixed_batch(inputs, targets, config, chance)
        weight = torch.from_numpy(self.weights[positions]).float().to(config.device)
        weight = weight * (targets @ self.class_weights.to(config.device))
        if self.pool is not None:
            strong = self.pool.inputs(self.network, self.part, number)
            inputs = torch.cat([inputs, strong]) if len(strong) else inputs  # a small pool is soon used up
        with self.watch.part(Part.FORWARD), autocast(config):
            logits, of_pool = self.learning(inputs).float().split([len(positions), len(inputs) - len(positions)])
        losses = self.loss(logits, targets)
        if self.memory is not None:
            losses = losses + self.memory(logits, positions)
        # Gradients are averaged over the processes; divided so, their mean is that of the whole batch in one process.
        loss = self.team.size * (losses * weight).sum() / self.team.total(weight.sum()).clamp_min(1e-8)
        if self.pool is not None:
            loss = loss + self.pool.loss(of_pool, len(positions))
        self.optimiser.zero_grad(set_to_none=True)
        with self.watch.part(Part.BACKWARD):
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        with self.watch.part(Part.OPTIMISER):
            self._move()
        return float(loss.detach())

    def _move(self) -> None:
        """One step against the gradients that lie on the parameters."""
        config = self.config
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(
            [p for group in self.optimiser.param_groups for p in group["params"]], config.gradient_norm
        )
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if config.head is HeadKind.COSINE:
            to_unit_rows(self.network.classifier)  # a step along the sphere: logits stay cosines
        if self.average:
            move_average(self.average, self.network, config.average_decay)

    def join(self) -> None:
        """Become one network with those of the other processes, which must do so at the same time."""
        self.learning = self.team.joined(self.part)

    def _set_rate(self, step: int) -> None:
        config = self.config
        warm_up = round(config.warm_up_epochs * self.steps_per_epoch)
        factor = rate_factor(step, self.steps, warm_up, config.schedule, config.final_rate_factor)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * group["rate_factor"] * factor

    def end_epoch(self, loss: float, seconds: float, validate: Validation | None) -> None:
        """Score, remember, and keep the weights if they are the best so far."""
        self.epoch += 1
        row = {
            "epoch": float(self.epoch),
            "train_loss": loss,
            "learning_rate": float(self.optimiser.param_groups[0]["lr"]),
            "seconds": seconds,
            "images_per_second": float((self.weights > 0).sum()) / max(seconds, 1e-9),
        }
        row |= self.pool.row() if self.pool is not None else {}
        current = learned_state(self.network)
        if validate is None:
            self.best, self.best_epoch = dict(self.average) or current, self.epoch
        else:
            if self.average:
                set_state(self.network, self.average)
            with self.watch.part(Part.VALIDATION):
                logits, labels = validate()
            score = validation_score(logits, labels)
            row |= {"val_macro_f1": score[0], "val_loss": -score[1]}
            if self.give_up_above is not None:
                row["val_calibrated_loss"] = calibrated_nll(logits, labels)
            row["val_accuracy"] = float((logits.argmax(axis=1) == labels).mean())
            if score > self.best_score:
                self.best, self.best_epoch, self.best_score = learned_state(self.network), self.epoch, score
                self.epochs_without_gain = 0
            else:
                self.epochs_without_gain += 1
            if self.average:
                set_state(self.network, current)
        self.history.append(row)

    def take_best(self) -> None:
        """Give the network its best weights."""
        if self.best:
            set_state(self.network, self.best)
        self.network.eval()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "network": learned_state(self.network),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average,
            "best": self.best,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_score": list(self.best_score),
            "epochs_without_gain": self.epochs_without_gain,
            "history": self.history,
            "pool": self.pool.state() if self.pool is not None else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        set_state(self.network, state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.average, self.best = (state["average"], state["best"]) if self.team.rank == 0 else ({}, {})
        self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.best_score = (state["best_score"][0], state["best_score"][1])
        self.epochs_without_gain, self.history = state["epochs_without_gain"], state["history"]
        if self.pool is not None:
            self.pool.restore(state["pool"])
