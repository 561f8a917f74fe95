"""The first level's threshold: how sure a model must be that a part is good before it passes without a person.

Among bad parts, the share that passes falls as the threshold rises, so one order statistic of the bad calibration parts
bounds it: if the limit allows c of n bad ones with the wanted confidence, the threshold lies just above the c+1st most
trusted of them (a distribution-free tolerance limit; Wilks, Ann. Math. Stat. 1941).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict
from scipy.special import betaincc

from data_contracts.profile import Limits
from domain_models.intervals import Interval, group_codes, independent_equivalent
from domain_models.operating_points import pass_rates

NOTHING_PASSES = 1.01
"""A threshold above every probability."""


class PassRule(BaseModel):
    """A part passes without a person only if the pass class has at least ``threshold``.

    The figures describe the calibration images that the rule was set on: ``n_bad`` images of other classes, of which
    ``escaped`` would pass; ``overkill_rate`` is the share of good ones that would not (``None`` without any).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pass_class: str
    threshold: float
    limit: float
    confidence_level: float
    n_bad: int
    escaped: int
    overkill_rate: float | None
    sentences: tuple[str, ...]

    def passes(self, probabilities: NDArray[np.float64], classes: Sequence[str]) -> NDArray[np.bool_]:
        """Which images may pass without a person, bool [n].

        Args:
            probabilities: float64 [n, k], calibrated, of the model's own classes.
            classes: k names in index order.
        """
        return np.asarray(probabilities[:, list(classes).index(self.pass_class)] >= self.threshold)

    def holds_back(
        self, probabilities: NDArray[np.float64], classes: Sequence[str], predicted: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which images are called good without being sure enough of it, bool [n]; see :meth:`passes`.

        ``predicted``: int64 [n], indices of classes.
        """
        called_good = predicted == list(classes).index(self.pass_class)
        return np.asarray(called_good & ~self.passes(probabilities, classes))


class PassOutcome(BaseModel):
    """What a pass rule does on labelled images that it was not set on; keys join those of ``tailsight evaluate``.

    Escape is the share of bad parts that pass, overkill the share of good ones that do not; each ``None`` without any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pass_threshold: float
    escape_rate_of_rule: float | None
    escape_rate_of_rule_ci: Interval | None
    overkill_rate_of_rule: float | None
    overkill_rate_of_rule_ci: Interval | None


def fit_pass_rule(
    probabilities: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    pass_class: str | None,
    limits: Limits,
    *,
    groups: Sequence[object] | ArrayLike | None = None,
) -> PassRule | None:
    """The lowest threshold that keeps the escape rate within the profile's limit, with the profile's confidence.

    Where groups hold several images, they count as if their images always agreed, which errs on the careful side.

    Args:
        probabilities: float [n, k], calibrated, of images that neither network nor temperature was fitted on.
        labels: int [n], class indices.
        classes: k names in index order.
        pass_class: the class that means "good".
        limits: of the profile.
        groups: one value per image, or ``None``.

    Returns:
        ``None`` where the profile has no escape limit or the model no pass class.
    """
    if limits.escape_rate is None or pass_class is None or pass_class not in classes:
        return None
    values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    index = list(classes).index(pass_class)
    bad = truth != index
    scores = np.sort(values[bad, index])[::-1]
    worth = independent_equivalent(group_codes(groups, len(truth))[bad]) if bad.any() else 0.0
    allowed = _allowed(len(scores), worth, limits.escape_rate, 1 - limits.confidence)
    if allowed is None:
        threshold = NOTHING_PASSES
    elif allowed == len(scores):
        threshold = 0.0
    else:
        threshold = float(np.nextafter(scores[allowed], np.inf))
    good = values[~bad, index]
    rule = PassRule(
        pass_class=pass_class,
        threshold=threshold,
        limit=limits.escape_rate,
        confidence_level=limits.confidence,
        n_bad=len(scores),
        escaped=int((scores >= threshold).sum()),
        overkill_rate=float((good < threshold).mean()) if good.size else None,
        sentences=(),
    )
    return rule.model_copy(update={"sentences": _sentences(rule)})


def measure_passing(
    probabilities: ArrayLike,
    labels: ArrayLike,
    rule: PassRule | None,
    classes: Sequence[str],
    *,
    groups: Sequence[object] | ArrayLike | None = None,
) -> PassOutcome | None:
    """Escapes and overkill under a rule; ``None`` without a rule, or where its pass class is not among the classes.

    Args:
        probabilities: float [n, k], calibrated.
        labels: int [n].
        rule: from :func:`fit_pass_rule`.
        classes: k names in index order.
        groups: one value per image, or ``None``.
    """
    if rule is None or rule.pass_class not in classes:
        return None
    values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    fails = truth != list(classes).index(rule.pass_class)
    rates = pass_rates(fails, rule.passes(values, classes), group_codes(groups, len(truth)))
    escape, escape_ci, overkill, overkill_ci = rates
    return PassOutcome(
        pass_threshold=rule.threshold,
        escape_rate_of_rule=escape,
        escape_rate_of_rule_ci=escape_ci,
        overkill_rate_of_rule=overkill,
        overkill_rate_of_rule_ci=overkill_ci,
    )


def _allowed(n: int, worth: float, limit: float, risk: float) -> int | None:
    """How many of n bad parts may pass; ``None`` if even none would not be enough to trust the limit."""
    if n == 0:
        return None
    shares = np.arange(n) / n
    risks = betaincc(shares * worth + 1, (1 - shares) * worth, limit)  # P(Binomial(worth, limit) <= share * worth)
    within = np.nonzero(risks <= risk)[0]
    return int(within[-1]) if within.size else None


def _sentences(rule: PassRule) -> tuple[str, ...]:
    promise = f"at most {rule.limit:.1%} of bad parts pass, with {rule.confidence_level:.0%} confidence"
    if rule.threshold > 1:
        fewest = int(np.ceil(np.log(1 - rule.confidence_level) / np.log1p(-rule.limit)))
        return (
            f"Nothing passes without a person: {rule.n_bad} labelled bad parts outside training are too few, or too "
            f"many of them look good, to promise that {promise}; it takes at least {fewest}.",
        )
    kept = "" if rule.overkill_rate is None else f" {rule.overkill_rate:.0%} of the good ones are looked at as well."
    return (
        f"A part passes without a person when {rule.pass_class} has a probability of at least {rule.threshold:.3f}, "
        f"set so that {promise}: {rule.escaped} of {rule.n_bad} bad ones would.{kept}",
    )
