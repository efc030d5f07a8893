"""Every way to the kernel distance gives the float64 numbers; what is kept of the real side changes none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from ganbench.metrics import FeatureSet, kernel_distance
from ganbench.metrics.numerics import float32_screen, kernel_estimates
from ganbench.metrics.numerics.kernel_estimates import SubsetEstimates
from ganbench.metrics.numerics.third_moments import ThirdMoments


def rectified(n: int, d: int, seed: int, offset: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(6, d))
    values = np.maximum(rng.normal(size=(n, 6)) @ mixing + rng.normal(size=(n, d)) + 0.1 * seed, 0.0)
    return np.float32(values + offset)


def reference(real: np.ndarray, fake: np.ndarray, subsets: int, size: int, seed: int = 2020) -> np.ndarray:
    """Subset by subset, as sums over float64 kernel matrices."""
    draws, found = np.random.RandomState(seed), []
    for _ in range(subsets):
        x, y = (np.float64(side[draws.choice(len(side), size, replace=False)]) for side in (real, fake))
        xx, yy, xy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
        within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        found.append(within - 2 * xy.mean())
    return np.array(found)


def magnitude(real: np.ndarray, fake: np.ndarray) -> float:
    """Of the kernel values, most of which cancels in the distance."""
    return float(np.mean((np.float64(real) @ np.float64(fake).T / real.shape[1] + 1) ** 3))


@pytest.mark.parametrize("size, width", [(5, 1), (40, 2), (30, 9), (17, 40)])
def test_third_moments_are_sums_of_cubes(size, width):
    x, y = torch.randn(2, size, width, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    third = ThirdMoments(size, width)
    of_x = third(x).clone()
    assert int((third.weights > 0).sum()) == width * (width + 1) * (width + 2) // 6
    assert float(of_x @ third(y)) == pytest.approx(float((x @ y.T).pow(3).sum()), rel=1e-12, abs=1e-10)
    assert float(of_x @ of_x) == pytest.approx(float((x @ x.T).pow(3).sum()), rel=1e-12)


WAYS = {
    "_by_moments": (300, 280, 20, 150, 1e-14),
    "_in_double": (300, 280, 60, 150, 1e-14),
    "_from_sums": (700, 640, 200, 400, 1e-8),
    "_one_by_one": (2600, 2500, 60, 100, 1e-8),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_ways_agree_with_float64(monkeypatch, way, offset):
    n, m, d, size, tolerance = WAYS[way]
    if way in ("_from_sums", "_one_by_one"):
        monkeypatch.setattr(kernel_estimates, "CHEAP", 0)
    real, fake = rectified(n, d, 0, offset), rectified(m, d, 1, offset)
    assert SubsetEstimates(FeatureSet(real), FeatureSet(fake), 20, size, 2020).way.__name__ == way
    expected = reference(real, fake, 20, size)
    found = kernel_distance(real, fake, 20, size)
    error = tolerance * magnitude(real, fake)
    assert found == (pytest.approx(expected.mean(), abs=error), pytest.approx(expected.std(), abs=10 * error))
    known = FeatureSet(real)
    assert kernel_distance(known, fake, 20, size) == kernel_distance(known, fake, 20, size) == found
    assert kernel_distance(known, fake, 20, size, rng=np.random.RandomState(2020)) == found
    assert kernel_distance(known, fake, 20, size, rng=1) != found


@pytest.mark.parametrize("way, ours", [("_from_sums", 1e-6), ("_in_double", 1e-10)])
def test_agrees_with_torch_fidelity_better_than_it_with_float64(monkeypatch, way, ours):
    if way == "_from_sums":
        monkeypatch.setattr(kernel_estimates, "CHEAP", 0)
    real, fake = rectified(1400, 300, 0), rectified(1300, 300, 1)
    assert SubsetEstimates(FeatureSet(real), FeatureSet(fake), 10, 1000, 2020).way.__name__ == way
    out = kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), kid_subsets=10, kid_subset_size=1000, verbose=False
    )
    mean, std = kernel_distance(real, fake, subsets=10)
    assert mean == pytest.approx(out[KEY_METRIC_KID_MEAN], rel=5e-5)
    assert std == pytest.approx(out[KEY_METRIC_KID_STD], rel=5e-4)
    assert mean == pytest.approx(reference(real, fake, 10, 1000).mean(), rel=ours)


def test_beyond_the_range_of_float32(monkeypatch):
    monkeypatch.setattr(kernel_estimates, "CHEAP", 0)
    real, fake = np.float64(rectified(300, 60, 0)), np.float64(rectified(280, 60, 1))
    expected = kernel_distance(real, fake, 10, 100)
    for factor in (1e8, 1e25):
        plan = SubsetEstimates(FeatureSet(factor * real), FeatureSet(factor * fake), 10, 100, 2020)
        assert plan.way.__name__ == "_in_double"
        mean, _ = kernel_distance(factor * real, factor * fake, 10, 100)
        assert mean == pytest.approx(reference(factor * real, factor * fake, 10, 100).mean(), rel=1e-9)
    error = 1e-8 * magnitude(real, fake)
    assert expected[0] == pytest.approx(reference(real, fake, 10, 100).mean(), abs=error)


def test_tiles_change_no_digit_that_counts(monkeypatch):
    monkeypatch.setattr(kernel_estimates, "CHEAP", 0)
    real, fake = rectified(700, 200, 0), rectified(640, 200, 1)
    found = []
    for tile in ((512, 1024), (100, 170), (64, 64)):
        monkeypatch.setattr(float32_screen, "TILE", tile)
        found.append(kernel_distance(real, fake, 10, 400)[0])
    assert all(a == pytest.approx(b, abs=1e-8 * magnitude(real, fake)) for a, b in itertools.pairwise(found))
