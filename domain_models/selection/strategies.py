"""The table of all strategies, the default mix, and the random audit."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from data_contracts.errors import BadInput
from data_contracts.vocabulary import ReviewReason
from domain_models.selection.embedding_space import cold_start, diverse, novelty
from domain_models.selection.labels_in_doubt import conflicts, suspect_labels
from domain_models.selection.pool import NOTHING, Pool, Selection, Strategy, take_best
from domain_models.selection.uncertain_and_diverse import badge, clustered_margin
from domain_models.selection.uncertainty import confused_pairs, entropy, low_confidence, margin, rare_classes


class StrategyName(StrEnum):
    """What ``tailsight queue --strategy`` accepts."""

    MIX = "mix"
    LOW_CONFIDENCE = "low_confidence"
    MARGIN = "margin"
    ENTROPY = "entropy"
    CLUSTERED_MARGIN = "clustered_margin"
    BADGE = "badge"
    CONFUSED_PAIRS = "confused_pairs"
    RARE_CLASSES = "rare_classes"
    NOVELTY = "novelty"
    DIVERSE = "diverse"
    COLD_START = "cold_start"
    SUSPECT_LABELS = "suspect_labels"
    CONFLICTS = "conflicts"
    RANDOM = "random"


@dataclass(frozen=True)
class Share:
    """A part of the mix."""

    name: StrategyName
    share: float


MIX = (
    Share(StrategyName.CONFLICTS, 0.05),
    Share(StrategyName.SUSPECT_LABELS, 0.15),
    Share(StrategyName.NOVELTY, 0.05),
    Share(StrategyName.CLUSTERED_MARGIN, 0.75),
)
"""Shares of the default mix. What one part cannot use goes to those after it; the last takes all that is left.

Replayed on four data sets, ten splits of each (``tailsight simulate``), no single strategy needed clearly fewer labels;
on infrared modules the mix needed fewer than small margins from many places alone. A few novel images are asked about
wherever the model is, because a new defect may look to it like a certain one.
"""

MIX_WITHOUT_MODEL = (
    Share(StrategyName.CONFLICTS, 0.1),
    Share(StrategyName.SUSPECT_LABELS, 0.1),
    Share(StrategyName.COLD_START, 0.8),
)
"""The mix where no model has said anything of the images without a label."""

SMALLEST_AUDIT = 5
"""From this budget on, a round has at least one audit task where the profile wants audits at all."""


def random_choice(pool: Pool, budget: int, seed: int) -> Selection:
    """Every candidate without a label is equally likely; what they show holds for all of them."""
    nothing = np.zeros(len(pool.candidates))
    return take_best(pool, pool.unlabelled, nothing, budget, seed, lambda _: ReviewReason.RANDOM_AUDIT.value)


def default_mix(pool: Pool, budget: int, seed: int) -> Selection:
    """A little of each strategy (:data:`MIX`); without any prediction, the cold start.

    The parts are interleaved, so that every beginning of the result is a mix as well.
    """
    shares = MIX if (pool.predicted & pool.unlabelled).any() else MIX_WITHOUT_MODEL
    parts: list[Selection] = []
    left, share_left = budget, sum(item.share for item in shares)
    for number, item in enumerate(shares):
        count = left if number == len(shares) - 1 else round(left * item.share / share_left)
        part = STRATEGIES[item.name](pool, count, seed)
        parts.append(part)
        pool = pool.without(part.indices)
        left, share_left = left - len(part), share_left - item.share
    for strategy in (conflicts, suspect_labels):  # more budget than images without a label
        part = strategy(pool, left, seed)
        parts.append(part)
        pool, left = pool.without(part.indices), left - len(part)
    return _interleaved(parts)


STRATEGIES: dict[StrategyName, Strategy] = {
    StrategyName.MIX: default_mix,
    StrategyName.LOW_CONFIDENCE: low_confidence,
    StrategyName.MARGIN: margin,
    StrategyName.ENTROPY: entropy,
    StrategyName.CLUSTERED_MARGIN: clustered_margin,
    StrategyName.BADGE: badge,
    StrategyName.CONFUSED_PAIRS: confused_pairs,
    StrategyName.RARE_CLASSES: rare_classes,
    StrategyName.NOVELTY: novelty,
    StrategyName.DIVERSE: diverse,
    StrategyName.COLD_START: cold_start,
    StrategyName.SUSPECT_LABELS: suspect_labels,
    StrategyName.CONFLICTS: conflicts,
    StrategyName.RANDOM: random_choice,
}
"""Every strategy; the contract suite runs on each entry."""


def parse_strategy(name: str) -> StrategyName:
    """A strategy by name.

    Raises:
        BadInput: there is none of this name.
    """
    try:
        return StrategyName(name)
    except ValueError:
        near = difflib.get_close_matches(name, [item.value for item in StrategyName], n=1)
        names = ", ".join(item.value for item in StrategyName)
        raise BadInput(
            f"There is no strategy {name!r}.", remedy=f"Did you mean {near[0]!r}?" if near else f"Strategies: {names}."
        ) from None


def audit_size(budget: int, share: float) -> int:
    """How many tasks of a round are a random audit: the share, rounded, but at least one from five tasks on."""
    if budget <= 0 or share <= 0:
        return 0
    return min(budget, max(round(budget * share), 1 if budget >= SMALLEST_AUDIT else 0))


def _interleaved(parts: list[Selection]) -> Selection:
    """All parts as one, each spread evenly over the whole."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return NOTHING
    position = np.concatenate([(np.arange(len(part)) + 0.5) / len(part) for part in filled])
    order = np.argsort(position, kind="stable")
    reasons = tuple(reason for part in filled for reason in part.reasons)
    return Selection(
        np.concatenate([part.indices for part in filled])[order],
        np.concatenate([part.scores for part in filled])[order],
        tuple(reasons[i] for i in order),
    )
