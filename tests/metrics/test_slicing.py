from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.metrics import sliced_wasserstein
from ganbench.metrics.slicing import SlicedWasserstein, directions, wasserstein_squared


@pytest.mark.parametrize("d", [1, 2, 7, 64])
def test_a_shift_costs_its_square_over_d(d):
    rng = np.random.default_rng(d)
    x, shift = rng.normal(size=(300, d)), rng.normal(size=d)
    assert sliced_wasserstein(x, rng.permutation(x) + shift) == pytest.approx((shift**2).sum() / d, rel=1e-10)


def test_a_shift_in_more_dimensions_than_directions():
    x = np.random.default_rng(0).normal(size=(50, 2000))
    shift = np.random.default_rng(1).normal(size=2000)
    assert sliced_wasserstein(x, x + shift) == pytest.approx((shift**2).sum() / 2000, rel=0.1)


def test_shifted_and_scaled_gaussians():
    # W2^2 of N(0, 1) and N(m, s^2) on the line is m^2 + (1 - s)^2.
    rng = np.random.default_rng(1)
    d, shift, scale = 5, 0.7, 1.4
    real, fake = rng.normal(size=(20000, d)), shift + scale * rng.normal(size=(20000, d))
    assert sliced_wasserstein(real, fake, 50) == pytest.approx(shift**2 + (1 - scale) ** 2, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_different_numbers_are_compared_by_quantiles(seed, n, m):
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.normal(size=(n, 2)), axis=0), np.sort(rng.normal(size=(m, 2)), axis=0)
    found = wasserstein_squared(x, y)
    assert found == pytest.approx(wasserstein_squared(np.repeat(x, m, axis=0), np.repeat(y, n, axis=0)))
    assert found == pytest.approx(wasserstein_squared(y, x))


def test_directions_are_orthonormal_bases():
    for d, number in ((3, 10), (4, 4), (9, 5)):
        axes = directions(d, number, 0)
        size = min(d, number)
        assert len(axes) >= number and len(axes) % size == 0
        for block in axes.reshape(-1, size, d):
            assert block @ block.T == pytest.approx(np.eye(size), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20), st.integers(1, 4))
def test_never_negative_symmetric_and_blind_to_order(seed, n, m, d):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    value = sliced_wasserstein(x, y, 16)
    assert value >= 0.0 and sliced_wasserstein(x, rng.permutation(x), 16) == 0.0
    assert sliced_wasserstein(y, x, 16) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert sliced_wasserstein(rng.permutation(x), rng.permutation(y), 16) == pytest.approx(value, rel=1e-9)


def test_grows_with_noise():
    rng = np.random.default_rng(0)
    real, noise = rng.normal(size=(2, 500, 6))
    values = [sliced_wasserstein(real, real + scale * noise) for scale in (0.0, 0.3, 1.0, 3.0)]
    assert values == sorted(values) and values[0] == 0.0


def test_metric(make_evidence):
    real, fake = np.random.default_rng(0).normal(size=(2, 40, 2))
    assert SlicedWasserstein()(make_evidence(fake, real, real)) == sliced_wasserstein(real, fake)
