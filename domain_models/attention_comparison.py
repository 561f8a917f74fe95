"""Does attention help where it hurts most? The same training with and without it, judged on the most confused pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.progress import SILENT, Progress
from domain_models.architecture import AttentionKind
from domain_models.class_counts import ClassCounts, confusion_matrix
from domain_models.intervals import Interval, bootstrap_weights, group_codes, group_sums, percentile_interval
from domain_models.metrics import most_confused
from domain_models.training import train
from domain_models.training_config import TrainingConfig
from domain_models.training_data import TrainingData


class AttentionComparison(BaseModel):
    """Recall of the two most confused classes, without and with attention, pooled over seeds.

    ``actual`` and ``predicted`` are the largest off-diagonal cell of the confusion without attention. Recalls are
    shares of the validation images of both classes that were called by their own name. ``gain_ci`` is the 95% interval
    of the difference (paired bootstrap of whole components over all seeds); where it holds 0, nothing was shown.
    """

    model_config = ConfigDict(frozen=True)

    attention: AttentionKind
    stages: tuple[int, ...]
    seeds: tuple[int, ...]
    actual: str
    predicted: str
    images_of_the_pair: int
    recall_without: float
    recall_with: float
    gain: float
    gain_ci: Interval
    macro_f1_without: tuple[float, ...]
    macro_f1_with: tuple[float, ...]
    seconds_without: float
    seconds_with: float

    @property
    def sentence(self) -> str:
        """What to tell a person."""
        low, high = self.gain_ci
        verdict = "it helped" if low > 0 else "it did harm" if high < 0 else "no difference was shown"
        return (
            f"{self.attention.upper()} on {self.actual!r} and {self.predicted!r}:"
            f" recall {self.recall_without:.3f} without, {self.recall_with:.3f} with"
            f" (difference {self.gain:+.3f}, 95% interval {low:+.3f} to {high:+.3f},"
            f" {len(self.seeds)} seeds); {verdict}."
        )


def compare_attention(
    data: TrainingData,
    config: TrainingConfig,
    run_dir: Path,
    *,
    attention: AttentionKind = AttentionKind.CBAM,
    stages: Sequence[int] = (-1,),
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = SILENT,
) -> AttentionComparison:
    """Train without and with attention for each seed and compare on the validation images.

    Args:
        data: training and validation images.
        config: of the training without attention; the other differs in nothing but the attention.
        run_dir: holds the checkpoints; the comparison goes on there after a kill.
        attention: which kind.
        stages: after which stages; see :class:`TrainingConfig`.
        seeds: one pair of trainings each.
        progress: told of images, loss and speed.

    Raises:
        ValueError: no seed, or the model without attention confuses no two classes, so there is no pair to judge by.
    """
    if not seeds:
        raise ValueError("at least one seed is needed")
    plain = config.model_copy(update={"attention": AttentionKind.NONE})
    gated = config.model_copy(update={"attention": attention, "attention_stages": tuple(stages)})
    calls: dict[str, list[NDArray[np.int64]]] = {"without": [], "with": []}
    seconds = {"without": 0.0, "with": 0.0}
    for seed in seeds:
        for name, each in (("without", plain), ("with", gated)):
            model = train(data, each.model_copy(update={"seed": seed}), run_dir / f"{name}-{seed}", progress)
            calls[name].append(model.val_predicted(data.val.labels))
            seconds[name] += model.seconds
    labels, classes = data.val.labels, len(data.classes)
    confusion = sum((confusion_matrix(labels, called, classes) for called in calls["without"]), start=_nothing(classes))
    pairs = most_confused(confusion, data.classes, top=1)
    if not pairs:
        raise ValueError("the model without attention makes no mistake on the validation images")
    members = [data.classes.index(name) for name in (pairs[0].actual, pairs[0].predicted)]
    of_pair = np.isin(labels, members)
    without, with_it = (
        np.mean([called[of_pair] == labels[of_pair] for called in calls[name]], axis=0) for name in ("without", "with")
    )
    groups = [group for group, chosen in zip(data.val.groups, of_pair, strict=True) if chosen]
    return AttentionComparison(
        attention=attention,
        stages=tuple(stages),
        seeds=tuple(seeds),
        actual=pairs[0].actual,
        predicted=pairs[0].predicted,
        images_of_the_pair=int(of_pair.sum()),
        recall_without=float(without.mean()),
        recall_with=float(with_it.mean()),
        gain=float(with_it.mean() - without.mean()),
        gain_ci=_interval_of_mean(with_it - without, groups),
        macro_f1_without=tuple(_macro_f1(labels, called, classes) for called in calls["without"]),
        macro_f1_with=tuple(_macro_f1(labels, called, classes) for called in calls["with"]),
        seconds_without=seconds["without"],
        seconds_with=seconds["with"],
    )


def _nothing(classes: int) -> NDArray[np.int64]:
    return np.zeros((classes, classes), dtype=np.int64)


def _macro_f1(labels: NDArray[np.int64], called: NDArray[np.int64], classes: int) -> float:
    return float(ClassCounts.of(confusion_matrix(labels, called, classes)).macro_f1)


def _interval_of_mean(values: NDArray[np.float64], groups: Sequence[str]) -> Interval:
    """95% bootstrap interval of the mean of ``values`` [n], drawing whole groups."""
    sums = group_sums(np.stack([values, np.ones_like(values)], axis=1), group_codes(groups, len(values)))
    drawn = np.concatenate([weights @ sums for weights in bootstrap_weights(len(sums))]).astype(np.float64)
    interval = percentile_interval(drawn[:, 0] / drawn[:, 1])
    if interval is None:
        raise ValueError("there are no images of the pair")
    return interval
