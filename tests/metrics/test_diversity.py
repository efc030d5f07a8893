from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.metrics import MetricError, NotApplicable, rke_score, vendi_score
from ganbench.metrics.diversity import RenyiKernelEntropy, VendiScore


def by_definition(x: np.ndarray) -> float:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(x @ x.T / len(x))
    eigenvalues = eigenvalues[eigenvalues > 1e-14]
    return float(np.exp(-(eigenvalues * np.log(eigenvalues)).sum()))


@pytest.mark.parametrize("n, d", [(5, 40), (40, 5), (30, 30), (1, 3), (3, 1)])
def test_follows_the_definition(n, d):
    x = np.random.default_rng(n).normal(size=(n, d)) + 0.3
    assert vendi_score(x) == pytest.approx(by_definition(x), rel=1e-10)


@pytest.mark.parametrize(
    "bad", [np.ones((3, 2, 2)), np.empty((0, 2)), np.array([[0.0, np.nan]]), np.array([[0.0, np.inf]])]
)
def test_what_is_no_set_of_features_is_refused(bad):
    with pytest.raises(MetricError):
        vendi_score(bad)


@pytest.mark.parametrize("distinct", [1, 2, 7])
def test_counts_distinct_orthogonal_samples(distinct):
    x = np.repeat(np.linspace(1.0, 9.0, distinct)[:, None] * np.eye(12)[:distinct], 4, axis=0)
    assert vendi_score(x) == pytest.approx(distinct, rel=1e-12)


def test_uneven_shares_count_by_their_entropy():
    x = np.repeat(np.eye(3), [7, 2, 1], axis=0)
    assert vendi_score(x) == pytest.approx(np.exp(-sum(p * np.log(p) for p in (0.7, 0.2, 0.1))), rel=1e-12)


def test_rows_of_zeros_are_alike_and_extreme_lengths_do_not_matter():
    assert vendi_score(np.zeros((5, 3))) == pytest.approx(1.0)
    assert vendi_score(np.concatenate([np.zeros((2, 2)), np.repeat(np.eye(2), 2, axis=0)])) == pytest.approx(3.0)
    x = np.random.default_rng(0).normal(size=(20, 4))
    lengths = 10.0 ** np.linspace(-300, 39, 20)[:, None]
    assert vendi_score(x * lengths) == pytest.approx(vendi_score(x), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12))
def test_bounds_order_and_copies(seed, n, d):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    value = vendi_score(x)
    assert 1.0 - 1e-9 <= value <= min(n, d) * (1 + 1e-9)
    assert vendi_score(rng.permutation(x)) == pytest.approx(value, rel=1e-9)
    assert vendi_score(np.concatenate([x, x])) == pytest.approx(value, rel=1e-9)


def test_falls_as_modes_are_dropped():
    rng = np.random.default_rng(0)
    modes = np.arange(500) % 10
    x = 3.0 * np.eye(10)[modes] + 0.3 * rng.normal(size=(500, 10))
    values = [vendi_score(x[modes < kept]) for kept in (10, 6, 3, 1)]
    assert all(more > 1.2 * fewer for more, fewer in pairwise(values))


def test_metric_is_not_for_points(make_evidence):
    x = np.random.default_rng(0).normal(size=(10, 4))
    assert VendiScore()(make_evidence(x, x, x, dataset={"shape": (1, 8, 8)})) == vendi_score(x)
    with pytest.raises(NotApplicable, match="points"):
        VendiScore()(make_evidence(x, x, x))


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_rke_follows_the_definition(sigma):
    x = np.random.default_rng(7).normal(size=(150, 5))
    kernel = np.exp(-np.square(x[:, None] - x[None]).sum(axis=2) / (2 * sigma**2))
    eigenvalues = np.linalg.eigvalsh(kernel / len(x))
    assert rke_score(x, sigma) == pytest.approx(1 / np.square(eigenvalues).sum(), rel=1e-9)


def test_rke_counts_equal_groups_and_orthogonal_rows():
    centres = 100.0 * np.eye(7)
    assert rke_score(np.repeat(centres, 20, axis=0), 1.0) == pytest.approx(7)
    assert rke_score(centres, 1.0) == pytest.approx(7)
    assert rke_score(np.ones((9, 3)), 1.0) == 1.0
    shares = np.repeat(centres[:2], [30, 10], axis=0)
    assert rke_score(shares, 1.0) == pytest.approx(1 / (0.75**2 + 0.25**2))
    with pytest.raises(MetricError, match="sigma"):
        rke_score(centres, 0.0)


def test_rke_takes_its_width_from_real_rows(make_evidence):
    real, fake = np.random.default_rng(8).normal(size=(2, 90, 4))
    width = 0.25 * np.median(np.linalg.norm(real[:, None] - real[None], axis=2)[np.triu_indices(90, 1)])
    assert RenyiKernelEntropy()(make_evidence(fake, real, real)) == pytest.approx(rke_score(fake, width))
    with pytest.raises(MetricError, match="median distance"):
        RenyiKernelEntropy()(make_evidence(fake, np.ones((90, 4)), real))
