from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from ganbench.metrics import MetricError, kernel_distance


def peer(real: np.ndarray, fake: np.ndarray, subsets: int, size: int) -> tuple[float, float]:
    out = kid_features_to_metric(
        torch.from_numpy(np.float64(real)),
        torch.from_numpy(np.float64(fake)),
        kid_subsets=subsets,
        kid_subset_size=size,
        verbose=False,
    )
    return out[KEY_METRIC_KID_MEAN], out[KEY_METRIC_KID_STD]


def exact(real: np.ndarray, fake: np.ndarray) -> float:
    """The unbiased estimate as a sum over pairs."""
    n, m, d = len(real), len(fake), real.shape[1]
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((real, real), (fake, fake), (real, fake)))
    return (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean()


@pytest.mark.parametrize("n, m, d", [(1200, 1100, 32), (1000, 1500, 5), (1300, 1300, 1)])
def test_agrees_with_torch_fidelity_at_its_defaults(n, m, d):
    rng = np.random.default_rng(n)
    real, fake = rng.normal(size=(n, d)), 1.1 * rng.normal(size=(m, d)) + 0.05
    mean, std = peer(real, fake, 10, 1000)
    assert kernel_distance(real, fake, subsets=10) == (pytest.approx(mean, rel=1e-9), pytest.approx(std, rel=1e-7))


@pytest.mark.parametrize("n, m", [(60, 50), (50, 60), (80, 80)])
def test_subsets_shrink_to_the_smaller_set(n, m):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(n, 7)), rng.normal(size=(m, 7)) + 0.3
    size = min(n, m, 70)
    mean, std = peer(real, fake, 100, size)
    assert kernel_distance(real, fake, subset_size=70) == (pytest.approx(mean, rel=1e-9), pytest.approx(std, rel=1e-7))


def test_one_estimate_where_the_subset_is_everything():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(300, 9)), rng.normal(size=(300, 9)) + 0.2
    mean, std = kernel_distance(real, fake)
    assert mean == pytest.approx(exact(real, fake), rel=1e-9)
    assert mean == pytest.approx(peer(real, fake, 3, 300)[0], rel=1e-9)
    assert std == 0.0


def test_unbiased_for_samples_of_one_distribution():
    rng = np.random.default_rng(1)
    values = [kernel_distance(rng.normal(size=(60, 4)), rng.normal(size=(60, 4)))[0] for _ in range(300)]
    assert min(values) < 0.0
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)


def test_seeds_choose_the_subsets():
    real, fake = np.random.default_rng(2).normal(size=(2, 90, 4))
    drawn = [kernel_distance(real, fake, subsets=5, subset_size=30, rng=seed) for seed in (2020, 2020, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    state = np.random.RandomState(2020)
    assert kernel_distance(real, fake, subsets=5, subset_size=30, rng=state) == drawn[0]
    assert kernel_distance(real, fake, subsets=5, subset_size=30, rng=state) != drawn[0]


@pytest.mark.parametrize("arguments", [{"subsets": 0}, {"subset_size": 1}, {"subsets": 2.5}])
def test_impossible_subsets(arguments):
    with pytest.raises(MetricError, match="subset"):
        kernel_distance(np.eye(5), np.eye(5), **arguments)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 8))
def test_blind_to_order_where_no_subset_is_drawn(seed, n, d):
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(2, n, d))
    value, _ = kernel_distance(real, fake)
    assert kernel_distance(rng.permutation(real), rng.permutation(fake))[0] == pytest.approx(value, rel=1e-9, abs=1e-10)


def test_grows_with_noise():
    rng = np.random.default_rng(4)
    real, fake, noise = rng.normal(size=(3, 800, 8))
    values = [kernel_distance(real, fake + level * noise)[0] for level in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values) and values[-1] > 10 * abs(values[0])
