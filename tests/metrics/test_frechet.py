from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from ganbench.metrics import frechet_distance, trace_of_covariance


def peer(real: np.ndarray, fake: np.ndarray) -> float:
    one, two = (fid_features_to_statistics(torch.from_numpy(np.float64(side))) for side in (real, fake))
    return fid_statistics_to_metric(one, two, verbose=False)[KEY_METRIC_FID]


def by_singular_values(real: np.ndarray, fake: np.ndarray) -> float:
    a, b = ((side - side.mean(0)) / np.sqrt(len(side) - 1) for side in (real, fake))
    shift = real.mean(0) - fake.mean(0)
    return shift @ shift + (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()


def standard(n: int, d: int, seed: int) -> np.ndarray:
    """Rows whose mean is 0 and whose covariance is the identity, to rounding."""
    values = np.random.default_rng(seed).normal(size=(n, d))
    q, _ = np.linalg.qr(values - values.mean(0))
    return q * np.sqrt(n - 1)


CASES = {
    "wide margin": (400, 300, 16, 16),
    "float32-like classifier": (900, 900, 32, 32),
    "low rank": (500, 400, 48, 7),
    "fewer rows than features": (40, 60, 96, 96),
    "one set short": (300, 30, 64, 64),
    "low rank and short": (50, 40, 96, 5),
    "points": (50, 60, 2, 2),
    "two rows": (2, 2, 8, 8),
}


@pytest.mark.parametrize("n, m, d, rank", CASES.values(), ids=CASES.keys())
def test_agrees_with_torch_fidelity(n, m, d, rank):
    rng = np.random.default_rng(n + d)
    mixing = rng.normal(size=(rank, d))
    real = rng.normal(size=(n, rank)) @ mixing + 3.0
    fake = 1.2 * rng.normal(size=(m, rank)) @ mixing + 3.1
    ours, theirs = frechet_distance(real, fake), peer(real, fake)
    traces = trace_of_covariance(real) + trace_of_covariance(fake)
    tolerance = 1e-6 if min(n, m) > d == rank else 1e-5
    assert abs(ours - theirs) <= tolerance * max(theirs, 1e-3 * traces)
    assert ours == pytest.approx(by_singular_values(real, fake), rel=1e-11)


@pytest.mark.parametrize("n, d", [(500, 8), (500, 64), (30, 64)])
def test_of_a_set_with_itself_is_zero(n, d):
    values = np.maximum(np.random.default_rng(0).normal(size=(n, d)), 0.0) + 100.0
    assert 0.0 <= frechet_distance(values, values) <= 1e-8 * trace_of_covariance(values)
    assert 0.0 <= frechet_distance(values, values[::-1]) <= 1e-8 * trace_of_covariance(values)


@pytest.mark.parametrize("d, s", [(1, 0.5), (6, 2.0), (20, 1.0), (20, 0.0)])
def test_closed_form_of_scaled_and_shifted_gaussians(d, s):
    m = np.linspace(-1.0, 2.0, d)
    expected = m @ m + d * (1 - s) ** 2
    assert frechet_distance(standard(200, d, 0), m + s * standard(150, d, 1)) == pytest.approx(expected, rel=1e-12)


def test_expected_bias_of_two_samples_of_one_gaussian():
    rng = np.random.default_rng(3)
    d, n, m = 6, 400, 250
    mean = np.mean([frechet_distance(rng.normal(size=(n, d)), rng.normal(size=(m, d))) for _ in range(200)])
    assert mean == pytest.approx((d + d * (d + 1) / 4) * (1 / n + 1 / m), rel=0.05)


def test_a_constant_at_the_mean_scores_the_trace():
    real = np.random.default_rng(0).normal(size=(300, 12)) * np.arange(1, 13)
    assert trace_of_covariance(real) == pytest.approx(np.trace(np.cov(real, rowvar=False)), rel=1e-13)
    assert frechet_distance(real, np.tile(real.mean(0), (50, 1))) == pytest.approx(trace_of_covariance(real), rel=1e-12)


def test_a_large_common_part_costs_no_accuracy():
    rng = np.random.default_rng(1)
    real, fake = rng.integers(-8, 8, (300, 10)), rng.integers(-9, 9, (200, 10))
    assert frechet_distance(real + 1e6, fake + 1e6) == pytest.approx(frechet_distance(real, fake), rel=1e-9)


def test_float32_features_are_not_summed_in_float32():
    real, fake = np.random.default_rng(2).normal(size=(2, 500, 16)).astype(np.float32) + 50
    assert frechet_distance(real, fake) == frechet_distance(np.float64(real), np.float64(fake))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(2, 30), st.integers(1, 12))
def test_symmetric_non_negative_and_blind_to_order(seed, n, m, d):
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), rng.integers(0, 3, size=(m, d))
    value = frechet_distance(real, fake)
    assert value >= 0.0
    assert frechet_distance(fake, real) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert frechet_distance(rng.permutation(real), rng.permutation(fake)) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_grows_with_noise():
    rng = np.random.default_rng(4)
    real, fake, noise = rng.normal(size=(3, 1000, 8))
    values = [frechet_distance(real, fake + level * noise) for level in (0.0, 0.3, 0.6, 1.0, 2.0)]
    assert values == sorted(values) and values[-1] > 10 * values[0]
