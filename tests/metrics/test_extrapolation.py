from __future__ import annotations

import numpy as np
import pytest

from ganbench.metrics import MetricError, NotApplicable, frechet_distance, frechet_distance_infinity
from ganbench.metrics.extrapolation import FrechetInfinity


def test_one_gaussian_twice_scores_near_the_bias_of_the_real_side():
    d, n = 16, 600
    real_side = (d + d * (d + 1) / 4) / 4000
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(4000, d)), rng.normal(size=(n, d))) for _ in range(6)]
    plain = np.mean([frechet_distance(*pair) for pair in pairs])
    found = np.mean([frechet_distance_infinity(*pair) for pair in pairs])
    assert plain == pytest.approx((d + d * (d + 1) / 4) * (1 / n + 1 / 4000), rel=0.1)
    assert found == pytest.approx(real_side, abs=0.1 * plain)


def test_shifted_and_scaled_gaussians():
    rng = np.random.default_rng(1)
    d, shift, scale = 8, 0.5, 1.5
    real, fake = rng.normal(size=(20000, d)), shift + scale * rng.normal(size=(2000, d))
    assert frechet_distance_infinity(real, fake) == pytest.approx(d * (shift**2 + (1 - scale) ** 2), rel=0.05)


def test_seeded():
    real, fake = np.random.default_rng(3).normal(size=(2, 200, 5))
    first = frechet_distance_infinity(real, fake)
    assert frechet_distance_infinity(real, fake) == first
    assert frechet_distance_infinity(real, fake, rng=1) != first


def test_needs_twice_as_many_rows_as_features():
    real, fake = np.random.default_rng(4).normal(size=(2, 100, 10))
    assert np.isfinite(frechet_distance_infinity(real, fake[:22]))
    with pytest.raises(MetricError, match="at least 2 \\(d \\+ 1\\) = 22 rows, not 21"):
        frechet_distance_infinity(real, fake[:21])
    with pytest.raises(MetricError, match="points"):
        frechet_distance_infinity(real, fake, points=1)


def test_metric(make_evidence):
    real, fake = np.random.default_rng(5).normal(size=(2, 100, 4))
    assert FrechetInfinity()(make_evidence(fake, real, real)) == frechet_distance_infinity(real, fake)
    with pytest.raises(NotApplicable, match="too few"):
        FrechetInfinity()(make_evidence(fake[:9], real, real))
