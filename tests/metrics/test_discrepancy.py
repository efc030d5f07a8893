from __future__ import annotations

import numpy as np
import pytest

from ganbench.metrics import MetricError, gaussian_mmd
from ganbench.metrics.discrepancy import GaussianDiscrepancy

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(300, 6)), RNG.normal(size=(200, 6)) + 0.5


def kernel(a: np.ndarray, b: np.ndarray, sigma: float) -> np.ndarray:
    return np.exp(-np.square(a[:, None] - b[None]).sum(axis=2) / (2 * sigma**2))


def by_definition(x: np.ndarray, y: np.ndarray, sigma: float) -> float:
    return 1000 * (kernel(x, x, sigma).mean() + kernel(y, y, sigma).mean() - 2 * kernel(x, y, sigma).mean())


@pytest.mark.parametrize("sigma", [0.5, 3.0, 10.0])
def test_follows_the_definition(sigma):
    assert gaussian_mmd(X, Y, sigma) == pytest.approx(by_definition(X, Y, sigma), rel=1e-9)
    assert gaussian_mmd(X.astype(np.float32), Y, sigma) == pytest.approx(by_definition(X, Y, sigma), rel=1e-4)


def test_the_width_is_the_median_distance_of_real_rows():
    upper = np.triu_indices(len(X), 1)
    sigma = float(np.median(np.linalg.norm(X[:, None] - X[None], axis=2)[upper]))
    assert gaussian_mmd(X, Y) == pytest.approx(by_definition(X, Y, sigma), rel=1e-9)
    assert gaussian_mmd(2.0**20 * X, 2.0**20 * Y) == pytest.approx(gaussian_mmd(X, Y), rel=1e-9)


def test_normal_distributions_have_the_closed_form():
    """E k(x, y) of N(0, I) and N(m, I) is (s / (s + 2))^(d/2) exp(-|m|^2 / (2 (s + 2))), s the kernel's variance."""
    rng, d, s = np.random.default_rng(1), 4, 2.0
    x, y = rng.normal(size=(4000, d)), rng.normal(size=(4000, d)) + np.array([1.0, 0, 0, 0])
    true = 1000 * 2 * (s / (s + 2)) ** (d / 2) * (1 - np.exp(-1 / (2 * (s + 2))))
    assert gaussian_mmd(x, y, sigma=np.sqrt(s)) == pytest.approx(true, rel=0.05)


def test_rows_of_length_one():
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (X, Y)]
    assert gaussian_mmd(X, Y, 10.0, unit=True) == pytest.approx(by_definition(*unit, 10.0), rel=1e-7)
    with pytest.raises(MetricError, match=r"row of zeros \(row 3\)"):
        gaussian_mmd(X, np.where(np.arange(200)[:, None] == 3, 0.0, Y), 10.0, unit=True)


def test_a_set_against_itself_is_zero():
    assert gaussian_mmd(X, X) == pytest.approx(0.0, abs=1e-9)
    assert gaussian_mmd(np.ones((5, 2)), np.ones((7, 2)), sigma=1.0) == 0.0


def test_errors():
    with pytest.raises(MetricError, match="median distance between its 9 rows is 0"):
        gaussian_mmd(np.ones((9, 2)), Y[:, :2])
    with pytest.raises(MetricError, match="at least 2 rows"):
        gaussian_mmd(X[:1], Y)
    for sigma in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(MetricError, match="sigma must be"):
            gaussian_mmd(X, Y, sigma)


def test_clip_features_are_scored_as_published(make_evidence):
    class Extractor:
        name = "clip-vit-b-32"

    assert GaussianDiscrepancy()(make_evidence(Y, X, X)) == gaussian_mmd(X, Y)
    assert GaussianDiscrepancy()(make_evidence(Y, X, X, extractor=Extractor())) == gaussian_mmd(X, Y, 10.0, unit=True)
