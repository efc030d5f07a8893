from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.metrics import MetricError, authenticity, frechet_distance, memorization_informed_frechet_distance
from ganbench.metrics.memorization import Authenticity


def by_definition(fake: np.ndarray, train: np.ndarray) -> float:
    between = ((fake[:, None] - train[None]) ** 2).sum(axis=2)
    within = ((train[:, None] - train[None]) ** 2).sum(axis=2)
    np.fill_diagonal(within, np.iinfo(np.int64).max)
    nearest = between.argmin(axis=1)
    return (between.min(axis=1) > within.min(axis=1)[nearest]).mean()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 200), st.integers(1, 3), st.integers(1, 30))
def test_follows_the_definition_with_ties_and_copies(seed, n, m, d, width):
    rng = np.random.default_rng(seed)
    fake, train = rng.integers(0, width, (n, d)), rng.integers(0, width, (m, d))
    assert authenticity(fake, train) == by_definition(fake, train)


def test_larger_sets_follow_the_definition():
    rng = np.random.default_rng(0)
    fake, train = rng.integers(0, 50, (700, 6)), rng.integers(0, 50, (900, 6))
    fake[:200] = train[:200]
    assert authenticity(fake + 0.5, train + 0.5) == by_definition(fake, train)


def test_copies_are_never_authentic():
    train = np.random.default_rng(0).normal(size=(300, 10)).astype(np.float32)
    assert authenticity(train, train) == 0.0
    assert authenticity(train[:40] + 1e-6, train) == 0.0
    doubled = np.concatenate([train, train])
    assert authenticity(train, doubled) == 0.0
    assert authenticity(train + 1e-6, doubled) == 1.0  # each image's nearest neighbour is its own copy


def test_falls_with_the_share_of_copies():
    rng = np.random.default_rng(1)
    train, held_out = rng.normal(size=(2, 500, 8))
    values = []
    for copies in (0, 100, 300, 500):
        fake = held_out.copy()
        fake[:copies] = train[:copies] + 1e-3 * rng.normal(size=(copies, 8))
        values.append(authenticity(fake, train))
    assert values == sorted(values, reverse=True)
    assert 0.4 < values[0] < 0.8
    assert values[-1] < 0.01


def test_blind_to_order():
    rng = np.random.default_rng(2)
    fake, train = rng.normal(size=(100, 5)), rng.normal(size=(150, 5))
    assert authenticity(rng.permutation(fake), rng.permutation(train)) == authenticity(fake, train)


def test_metric_reads_the_training_split(make_evidence):
    rng = np.random.default_rng(3)
    fake, real, train = rng.normal(size=(3, 60, 4))
    assert Authenticity()(make_evidence(fake, real, train)) == pytest.approx(authenticity(fake, train))
    assert Authenticity()(make_evidence(train, real, train)) == 0.0


def mifid_by_definition(train: np.ndarray, fake: np.ndarray, limit: float) -> float:
    from scipy.linalg import sqrtm

    covariances = [np.cov(rows.T) for rows in (train, fake)]
    fid = np.square(train.mean(axis=0) - fake.mean(axis=0)).sum() + sum(np.trace(c) for c in covariances)
    fid -= 2 * np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train, fake)]
    distance = (1 - np.abs(unit[0] @ unit[1].T)).min(axis=1).mean()
    return fid / (distance if distance < limit else 1.0)


@pytest.mark.parametrize("limit", [0.1, 0.5, 1e-6])
def test_mifid_follows_the_definition(limit):
    train, fake = np.random.default_rng(4).normal(size=(2, 200, 6)) + 1
    found = memorization_informed_frechet_distance(train, fake + 0.3, limit)
    assert found == pytest.approx(mifid_by_definition(train, fake + 0.3, limit), rel=1e-8)


def test_mifid_of_copies():
    train, other = np.random.default_rng(5).normal(size=(2, 500, 32))
    assert memorization_informed_frechet_distance(train, train) == 0.0  # no distance is left to be divided
    copies = np.concatenate([train, train[:100]])
    fid = frechet_distance(train, copies)
    assert memorization_informed_frechet_distance(train, copies) > 1e10 * fid
    assert memorization_informed_frechet_distance(train, other) == pytest.approx(frechet_distance(train, other))


def test_mifid_leaves_rows_without_direction_out():
    train, fake = np.random.default_rng(6).normal(size=(2, 100, 3)) + 2
    padded = np.concatenate([fake, np.zeros((1, 3))])
    ratio = memorization_informed_frechet_distance(train, padded) / frechet_distance(train, padded)
    assert ratio == pytest.approx(memorization_informed_frechet_distance(train, fake) / frechet_distance(train, fake))
    with pytest.raises(MetricError, match="only rows of zeros"):
        memorization_informed_frechet_distance(train, np.zeros((5, 3)))
