"""How sure a figure is: binomial intervals, and the bootstrap that draws whole groups.

Images of one group (patient, lesion, tile, lot) are alike, so they are never counted as if they were independent: the
bootstrap draws groups, and binomial intervals use an effective number of images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri

Interval = tuple[float, float]

CONFIDENCE = 0.95
REPLICATES = 1000
_CHUNK_NUMBERS = 8_000_000  # bootstrap weights held at once: 32 MB of float32


def group_codes(groups: Sequence[object] | ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Number the groups 0, 1, ...; without groups (``None``) every image is its own.

    Args:
        groups: one value per image, of any kind that can be told apart by its text.
        n: number of images.

    Returns:
        int64 [n]: the group of each image, dense from 0, in order of first appearance.

    Raises:
        ValueError: the number of groups given is not ``n``.
    """
    if groups is None:
        return np.arange(n, dtype=np.int64)
    names = np.asarray(groups, dtype=object).ravel().tolist()
    if len(names) != n:
        raise ValueError(f"groups has {len(names)} values for {n} images")
    seen: dict[str, int] = {}
    return np.fromiter((seen.setdefault(str(name), len(seen)) for name in names), dtype=np.int64, count=n)


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Two-sided Wilson score interval of a share; ``None`` where nothing was observed (Wilson, JASA 1927).

    ``successes`` and ``n`` may be effective (fractional) counts.
    """
    if n <= 0:
        return None
    z = float(ndtri(0.5 + confidence / 2))
    share = min(max(successes / n, 0.0), 1.0)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return (max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def clopper_pearson(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval | None:
    """Two-sided exact interval of a share, never too narrow; ``None`` where nothing was observed.

    Clopper and Pearson, Biometrika 1934. ``successes`` and ``n`` may be effective (fractional) counts.
    """
    if n <= 0:
        return None
    tail = (1 - confidence) / 2
    low = 0.0 if successes <= 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes >= n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return (low, high)


def independent_equivalent(groups: NDArray[np.int64]) -> float:
    """How many independent images these are worth if the images of a group always agreed: (sum m)^2 / sum m^2.

    The most careful effective number (Kish's design effect with an intra-class correlation of 1); equals the number of
    images where every group has one.

    Args:
        groups: int64 [n], see :func:`group_codes`.
    """
    if not groups.size:
        return 0.0
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def effective_count(outcomes: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """How many independent images would know the share of true ``outcomes`` as well as these grouped ones do.

    The variance of a share over groups (a ratio estimator) against the binomial variance (Kish, Survey Sampling, 1965).
    Bounded by :func:`independent_equivalent` below and the number of images above; where all outcomes agree the
    variance cannot be seen and the lower bound is taken.

    Args:
        outcomes: bool [n].
        groups: int64 [n].
    """
    n = outcomes.size
    fewest = independent_equivalent(groups)
    share = float(outcomes.mean()) if n else 0.0
    if fewest == n or share in (0.0, 1.0):
        return fewest
    codes = np.unique(groups, return_inverse=True)[1]
    totals = np.bincount(codes, outcomes - share)
    count = totals.size
    if count < 2:
        return fewest
    variance = count / (count - 1) * float((totals**2).sum()) / n**2
    return float(n) if variance <= 0 else float(np.clip(share * (1 - share) / variance, fewest, n))


def share_interval(
    outcomes: NDArray[np.bool_], groups: NDArray[np.int64], confidence: float = CONFIDENCE
) -> Interval | None:
    """Wilson interval of the share of true ``outcomes`` (bool [n]), with the groups' effective count."""
    if not outcomes.size:
        return None
    n = effective_count(outcomes, groups)
    return wilson(float(outcomes.mean()) * n, n, confidence)


def bootstrap_weights(n_groups: int, *, replicates: int = REPLICATES, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """How often each group is drawn in each bootstrap replicate, in chunks that fit in memory.

    Yields:
        float32 [r, n_groups], each row summing to ``n_groups``; the rows of all chunks are ``replicates``.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK_NUMBERS // max(1, n_groups))
    for start in range(0, replicates, rows):
        count = min(rows, replicates - start)
        drawn = generator.integers(0, n_groups, size=(count, n_groups))
        drawn += np.arange(count)[:, None] * n_groups
        yield np.bincount(drawn.ravel(), minlength=count * n_groups).reshape(count, n_groups).astype(np.float32)


def group_sums(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float32]:
    """Sum per-image columns over groups.

    Args:
        values: float [n, c].
        groups: int64 [n], dense from 0.

    Returns:
        float32 [groups, c].
    """
    count = int(groups.max()) + 1 if groups.size else 0
    if count == groups.size:  # every image its own group: only the order may differ
        sums = np.empty((count, values.shape[1]), dtype=np.float32)
        sums[groups] = values
        return sums
    columns = [np.bincount(groups, column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float32)


def percentile_interval(
    replicates: NDArray[np.float64], confidence: float = CONFIDENCE, *, centre_on: float | None = None
) -> Interval | None:
    """Percentile interval of bootstrap replicates (NaN ones, where a figure was undefined, are left out).

    Args:
        replicates: float [r].
        confidence: two-sided.
        centre_on: for figures that resampling inflates (ECE): shift the replicates so that their mean is this estimate.
    """
    known = replicates[np.isfinite(replicates)]
    if not known.size:
        return None
    if centre_on is not None:
        known = known - known.mean() + centre_on
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return (float(low), float(high))
