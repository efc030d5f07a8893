from __future__ import annotations

import numpy as np
import pytest
import torch

from ganbench.metrics import MetricError, different_bins

RNG = np.random.default_rng(0)
CENTRES = 100.0 * np.stack(np.meshgrid(np.arange(4.0), np.arange(5.0)), axis=-1).reshape(20, 2)


def drawn(counts: np.ndarray) -> np.ndarray:
    """So many points of each of twenty modes far apart: k-means with 20 bins finds them."""
    return np.repeat(CENTRES, counts, axis=0) + np.random.default_rng(1).normal(size=(counts.sum(), 2))


def by_definition(p: np.ndarray, q: np.ndarray) -> float:
    """The two-proportion test of statsmodels' and scipy's kind, from counts: chi-squared without correction."""
    from scipy.stats import chi2_contingency

    tables = [np.array([[a, p.sum() - a], [b, q.sum() - b]]) for a, b in zip(p, q, strict=True)]
    return float(np.mean([chi2_contingency(table, correction=False).pvalue < 0.05 for table in tables]))


def test_is_the_share_of_bins_that_a_test_of_two_shares_tells_apart():
    known = np.full(20, 50)
    for fake in (known, np.arange(41, 61), np.r_[np.zeros(5, int), np.full(15, 66)], np.r_[1000, np.ones(19, int)]):
        assert different_bins(drawn(known), drawn(fake), bins=20) == by_definition(known, fake)


def test_honest_samples_score_about_the_level():
    train, fake = RNG.normal(size=(2, 4000, 4))
    assert different_bins(train, fake) < 0.14
    assert different_bins(train, np.repeat(fake[:40], 100, axis=0)) > 0.8


def test_the_same_whatever_the_threads():
    train, fake = RNG.normal(size=(2, 1500, 16))
    before, found = torch.get_num_threads(), set()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.add(different_bins(train, fake + 0.2))
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_fewer_different_rows_than_bins():
    train = np.repeat(RNG.normal(size=(5, 3)), 40, axis=0)
    assert different_bins(train, train) == 0.0
    assert different_bins(train, train[:40]) == 0.05  # of five bins with rows all differ


def test_errors():
    train = RNG.normal(size=(99, 2))
    with pytest.raises(MetricError, match="train needs at least 100 rows, not 99"):
        different_bins(train, train)
    with pytest.raises(MetricError, match="level"):
        different_bins(train, train, bins=5, level=1.0)
