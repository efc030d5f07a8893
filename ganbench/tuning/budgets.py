"""What a tuning budget buys: the best score to expect from k configurations out of the n that were tried."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ganbench.analysis.statistics import LEVEL, Floats, sample_of


class Curve(NamedTuple):
    """Best score of a budget of 1 to n configurations: each ``(n,)``, in the scores' unit."""

    expected: Floats
    low: Floats
    high: Floats


def best_of(scores: ArrayLike, direction: Literal["min", "max"]) -> Curve:
    """Expected best of k of the n ``scores``, and the range that holds it in 95 % of cases, for every k.

    Both are exact over all subsets of size k, drawn without replacement: with the scores in order, the best
    one first, the i-th is the best of a subset with probability ``C(n - i, k - 1) / C(n, k)``. The range runs
    from the 2.5 to the 97.5 % quantile of that distribution; at ``k = n`` there is one subset, and both ends are its
    best score. Lucic et al., "Are GANs Created Equal? A Large-Scale Study" (2018), section 5, and Dodge et
    al., "Show Your Work: Improved Reporting of Experimental Results" (2019), section 3, compare models by
    this curve (the latter draws with replacement).

    Raises ValueError without a score, or with one that is not finite.
    """
    ordered = sample_of(scores)
    if direction == "max":
        ordered = ordered[::-1]
    n = len(ordered)
    place = np.arange(1, n)
    quantiles = np.array([1 - LEVEL, 1 + LEVEL]) / 2 - 1e-12  # what a sum reaches but for its rounding, it reaches
    found = np.empty((3, n))
    for k in range(1, n + 1):
        weights = k / n * np.cumprod(np.r_[1.0, np.maximum(n - place - k + 1, 0) / (n - place)])
        reached = np.cumsum(weights)
        ends = np.minimum(np.searchsorted(reached, quantiles), n - k)
        found[:, k - 1] = (weights @ ordered, *np.sort(ordered[ends]))
    return Curve(*found)
