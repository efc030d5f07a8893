from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from ganbench.metrics import MetricError, clipped_coverage, clipped_density
from ganbench.metrics.clipped import expected_coverage

RNG = np.random.default_rng(0)
REAL, HONEST = RNG.normal(size=(2, 1000, 4))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(a[:, None] - b[None]).sum(axis=2))


def within(real: np.ndarray) -> np.ndarray:
    found = distances(real, real)
    np.fill_diagonal(found, np.inf)
    return found


def density_by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> float:
    own = within(real)
    radii = np.sort(own, axis=1)[:, k - 1]
    radii = np.minimum(radii, np.median(radii))[:, None]
    found, ideal = ((np.minimum((d <= radii).sum(axis=0) / k, 1)).mean() for d in (distances(real, fake), own))
    return min(found / ideal, 1.0)


def coverage_by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> float:
    radii = np.sort(within(real), axis=1)[:, k - 1][:, None]
    covered = np.minimum((distances(real, fake) < radii).sum(axis=1), k).mean() / k
    n, m = len(real), len(fake)
    expected = [0.0] * k + [
        sum(min(i, k) / k * betabinom(j, k, n - k).pmf(i) for i in range(j + 1)) for j in range(k, m + 1)
    ]
    return sum(value < covered for value in expected) / (m + 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40), st.integers(1, 3), st.integers(1, 5))
def test_follow_the_definition(seed, n, m, d, k):
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.2
    assert clipped_density(real, fake, k) == pytest.approx(density_by_definition(real, fake, k), abs=1e-12)
    assert clipped_coverage(real, fake, k) == pytest.approx(coverage_by_definition(real, fake, k), abs=1.01 / (m + 1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 60), st.integers(1, 60), st.integers(1, 3), st.integers(1, 5))
def test_density_follows_the_definition_with_ties_and_copies(seed, n, m, d, width):
    rng = np.random.default_rng(seed)
    real, fake = rng.integers(0, width, (n, d)), rng.integers(0, width, (m, d))
    assert clipped_density(real, fake, 3) == pytest.approx(density_by_definition(real, fake, 3), abs=1e-12)


def test_expectations_are_those_of_the_beta_binomial():
    found = expected_coverage(50, 30, 5)
    for j in (5, 12, 30):
        assert found[j] == pytest.approx(betabinom(j, 5, 45).expect(lambda i: np.minimum(i, 5)) / 5, abs=1e-9)
    assert (np.diff(found) >= 0).all() and not found[:5].any()


def test_honest_samples_score_about_one():
    assert clipped_density(REAL, HONEST) == pytest.approx(1.0, abs=0.05)
    assert clipped_coverage(REAL, HONEST) == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_both_fall_by_the_share_of_bad_samples(share):
    fake = HONEST.copy()
    fake[: int(share * 1000)] += 100.0
    assert clipped_density(REAL, fake) == pytest.approx(1 - share, abs=0.05)
    assert clipped_coverage(REAL, fake) == pytest.approx(1 - share, abs=0.06)


def test_outliers_and_crowds_do_not_move_density():
    far = HONEST.copy()
    far[:500] = 20.0 + HONEST[:500]
    with_outliers = REAL.copy()
    with_outliers[:30] += 20.0 * RNG.normal(size=(30, 4))
    assert clipped_density(with_outliers, far) == pytest.approx(clipped_density(REAL, far), abs=0.04)
    crowded = far.copy()
    crowded[500:] *= 0.01  # all good ones where real data are dense
    assert clipped_density(REAL, crowded) < 0.8


def test_copies_of_real_rows():
    same = np.ones((20, 3))
    assert (clipped_density(same, same), clipped_coverage(same, same)) == (1.0, 0.0)
    assert clipped_density(same, same + 1) == 0.0


def test_errors():
    with pytest.raises(MetricError, match="real needs at least 6 rows"):
        clipped_density(REAL[:5], HONEST)
    with pytest.raises(MetricError, match="fake needs at least 5 rows"):
        clipped_coverage(REAL, HONEST[:4])
    with pytest.raises(MetricError, match="k must be"):
        clipped_coverage(REAL, HONEST, k=0)
