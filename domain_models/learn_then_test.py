"""The most lenient threshold whose error is within a limit, except with a stated small risk.

Fixed-sequence Learn-then-Test (Angelopoulos, Bates, Candès, Jordan, Lei: Annals of Applied Statistics 2025) over
ever more lenient thresholds, with several starting points that share the allowed risk by the fallback procedure
(Wiens and Dmitrienko, J. Biopharm. Stat. 2005). Each test is of what people will count, the errors in a next batch as
large, and not only of the true error behind them (where exact binomial tests do: Geifman and El-Yaniv, NeurIPS 2017):
a limit that is kept on average is broken by every other batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LIKELY_START = 0.75  # share of a path's risk for the start that the stated confidences make most promising
_STARTS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # automatic shares at which the other sequences start, in case they mislead
_STEPS = 400


def most_lenient_threshold(
    scores: NDArray[np.float64],
    doubt: NDArray[np.float64],
    wrong: NDArray[np.bool_],
    codes: NDArray[np.int64],
    limit: float,
    risk: float,
) -> float | None:
    """The lowest threshold on ``scores`` whose error passes, or ``None``.

    Above the score of rank c + 1, the first c images are an independent sample, so the test at each count is exact; the
    threshold is therefore put just above the next score, and at zero when everything passes. Most of the risk is staked
    where ``doubt`` (the stated chance of an error, seen without labels) lets a test pass most easily.

    Args:
        scores: float64 [n], 0 to 1; the higher, the sooner decided automatically.
        doubt: float64 [n], stated chance that each decision is wrong.
        wrong: bool [n], whether it is.
        codes: int64 [n], group of each image; images of a group are tested as if they always agreed.
        limit: largest share of wrong decisions.
        risk: allowed chance that the threshold breaks the limit.
    """
    n = len(scores)
    if not n:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, ranked_codes = scores[order], codes[order]
    errors = np.cumsum(wrong[order])
    squares = np.cumsum(2 * _earlier_of_group(ranked_codes) + 1)
    ends = np.nonzero(np.append(np.diff(ranked) != 0, True))[0]  # thresholds never cut through ties
    counts = (ends + 1).astype(np.float64)
    worth = counts**2 / squares[ends]
    able = chance_of_breaking(np.zeros(len(worth)), worth, limit) <= risk  # fewer could not pass without an error
    grid = np.unique(np.searchsorted(counts, np.linspace(0, n, _STEPS + 1)[1:]).clip(0, len(ends) - 1))
    grid = grid[able[grid]]
    if not grid.size:
        return None
    stated = (np.cumsum(doubt[order])[ends] / counts)[grid]
    likely = int(np.argmax((limit - stated) * np.sqrt(worth[grid])))
    others = np.searchsorted(counts[grid], np.asarray(_STARTS) * n - 1e-9).clip(0, len(grid) - 1)
    own = np.bincount(others, minlength=len(grid)) * (risk * (1 - _LIKELY_START) / len(_STARTS))
    own[likely] += risk * _LIKELY_START
    shares = errors[ends][grid] / counts[grid]
    p_values = chance_of_breaking(shares, worth[grid], limit)
    level, last = 0.0, None
    for position, index in enumerate(grid):
        level += own[position]
        if p_values[position] <= level:
            last = index
        else:
            level = 0.0
    if last is None:
        return None
    end = ends[last]
    return 0.0 if end + 1 == n else float(np.nextafter(ranked[end + 1], np.inf))


def chance_of_breaking(shares: NDArray[np.float64], worth: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """The largest chance of so few errors here, were the next batch of as many images to break the limit: float64 [m].

    Images of both batches are exchangeable, so of all errors in both, how many lie here is hypergeometric; the limit is
    broken most easily by one error too many. Up to a tenth it is no less than the binomial chance under a true
    error at the limit, so who passes keeps that as well.

    Args:
        shares: float64 [m], share of wrong ones here.
        worth: float64 [m], how many independent images these are worth.
        limit: largest share of wrong ones in the next batch.
    """
    from scipy import stats

    n = np.floor(worth).astype(np.int64)
    here = np.ceil(shares * n - 1e-9).astype(np.int64)
    breaking = np.floor(limit * n + 1e-9).astype(np.int64) + 1
    chance = stats.hypergeom.cdf(here, 2 * n, here + breaking, n)
    return np.where((n > 0) & (breaking <= n), chance, 1.0)


def _earlier_of_group(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: how many earlier entries have the same code."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    first = np.append(True, ordered[1:] != ordered[:-1])
    positions = np.arange(len(codes))
    earlier = np.empty(len(codes), dtype=np.int64)
    earlier[order] = positions - np.maximum.accumulate(np.where(first, positions, 0))
    return earlier


def fewest_faultless(limit: float, risk: float) -> int:
    """How many images without a single error the most likely start needs before its test can pass."""
    most = int(np.ceil(4 * np.log(risk * _LIKELY_START) / np.log1p(-limit)))
    sizes = np.arange(1, most + 1, dtype=np.float64)
    return int(sizes[chance_of_breaking(np.zeros(most), sizes, limit) <= risk * _LIKELY_START][0])
