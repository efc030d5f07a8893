"""How far metrics agree in how they rank the variants of a leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

LEAST = 5
"""Variants with both scores, below which a rank correlation says nothing."""
RESAMPLES = 1000
COLUMNS = ["dataset", "protocol", "first", "second", "variants", "spearman", "low", "high"]


def agreement(
    board: pd.DataFrame, directions: Mapping[str, str], metrics: Sequence[str] | None = None, first: str | None = None
) -> pd.DataFrame:
    """Spearman's rank correlation of each two metrics over the ranked variants of each dataset and protocol.

    Scores are the medians of the leaderboard, turned so that better is higher: 1 is the same ranking, -1 the opposite
    one. ``low`` and ``high`` are the 95 % percentile bootstrap interval over variants (1,000 seeded resamples; those in
    which all scores of a metric tie are left out).

    Args:
        board: as ``ganbench.analysis.ranking.leaderboard`` makes it.
        directions: ``min`` or ``max`` by metric; others have no ranking.
        metrics: which are compared; by default all that have a direction.
        first: the one that the others are compared with; by default each with each.

    Returns:
        One row a pair with at least five variants of which both scores are known, and that do not all tie.

    Source:
        Spearman 1904, "The Proof and Measurement of Association between Two Things"; Efron 1979 for the interval.
    """
    names = [m for m in (metrics or directions) if directions.get(m) in ("min", "max") and m in board]
    rows = []
    ranked = board[board["rank"].notna()]
    for (dataset, protocol), table in ranked.groupby(["dataset", "protocol"], sort=True):
        scores = {m: table[m].to_numpy(np.float64) * (1 if directions[m] == "max" else -1) for m in names}
        for one, other in combinations(names, 2):
            if first not in (None, one):
                continue
            known = np.isfinite(scores[one]) & np.isfinite(scores[other])
            pair = np.stack([scores[one][known], scores[other][known]])
            if pair.shape[1] < LEAST or (np.ptp(pair, axis=1) == 0).any():
                continue
            draws = np.random.default_rng(0).integers(pair.shape[1], size=(RESAMPLES, pair.shape[1]))
            low, high = np.nanquantile(_spearman(pair[0][draws], pair[1][draws]), [0.025, 0.975])
            rho = float(_spearman(*pair[:, None])[0])
            rows.append([dataset, protocol, one, other, pair.shape[1], rho, float(low), float(high)])
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS, dtype=object))


def _spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each row of two arrays ``(k, n)``; NaN where all of a row tie."""
    one, two = (rankdata(values, axis=1) for values in (first, second))
    one, two = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (one, two))
    size = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    return np.divide((one * two).sum(axis=1), size, out=np.full(len(one), np.nan), where=size > 0)
