from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.metrics import authenticity
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
