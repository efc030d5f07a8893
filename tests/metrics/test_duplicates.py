from __future__ import annotations

import numpy as np
import pytest

from ganbench.metrics import MetricError, frechet_distance, near_duplicates
from ganbench.metrics.duplicates import NearDuplicates

RNG = np.random.default_rng(0)
REAL, HONEST = RNG.normal(size=(2, 1000, 8))


def planted(copies: int, jitter: float) -> np.ndarray:
    """The last ``copies`` of the honest samples replaced by others of them."""
    fake = HONEST.copy()
    fake[1000 - copies :] = fake[:copies] + jitter * np.random.default_rng(1).normal(size=(copies, 8))
    return fake


def test_real_data_have_one_percent():
    assert near_duplicates(REAL, REAL) == pytest.approx(0.01, abs=0.0011)
    assert near_duplicates(REAL, HONEST) < 0.02


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_a_point_scores_one(value):
    assert near_duplicates(REAL, np.full((1000, 8), value)) == 1.0
    assert near_duplicates(REAL, value + 1e-6 * HONEST) == 1.0
    assert near_duplicates(REAL, HONEST[RNG.integers(20, size=1000)]) == 1.0


@pytest.mark.parametrize("jitter", [0.0, 1e-6, 1e-2])
def test_planted_copies_are_counted_at_both_ends(jitter):
    for copies in (50, 200, 500):
        assert near_duplicates(REAL, planted(copies, jitter)) == pytest.approx(2 * copies / 1000, abs=0.02)


def test_it_sees_what_the_frechet_distance_does_not():
    doubled = planted(500, 1e-3)
    assert frechet_distance(REAL, doubled) < 1.6 * frechet_distance(REAL, HONEST)
    assert near_duplicates(REAL, doubled) > 50 * near_duplicates(REAL, REAL)


def test_as_many_are_compared_whatever_there_are():
    rng = np.random.default_rng(2)
    few, many = rng.normal(size=(300, 8)), rng.normal(size=(3000, 8))
    for pair in ((few, many), (many, few)):
        assert near_duplicates(*pair) < 0.04


def test_real_data_that_are_copies():
    doubled = np.concatenate([REAL, REAL])
    assert near_duplicates(doubled, np.concatenate([HONEST, HONEST])) == 1.0
    assert near_duplicates(doubled, np.concatenate([HONEST, HONEST + 10])) == 0.0


def test_blind_to_order_and_scale():
    rng, fake = np.random.default_rng(3), planted(100, 1e-3)
    value = near_duplicates(REAL, fake)
    assert near_duplicates(rng.permutation(REAL), rng.permutation(fake)) == value
    assert near_duplicates(2.0**20 * REAL, 2.0**20 * fake) == value


def test_errors():
    for real, fake in ((REAL[:1], HONEST), (REAL, HONEST[:1])):
        with pytest.raises(MetricError, match="at least 2 rows"):
            near_duplicates(real, fake)
    with pytest.raises(MetricError, match="share"):
        near_duplicates(REAL, HONEST, share=0.0)


def test_metric_finds_the_real_side_once(make_evidence, monkeypatch):
    from ganbench.metrics import duplicates

    fake = planted(100, 0.0)
    evidence = make_evidence(fake, REAL, REAL)
    assert NearDuplicates()(evidence) == near_duplicates(REAL, fake)
    calls = []
    monkeypatch.setattr(duplicates, "nearest_others", lambda x: calls.append(len(x)) or np.ones(len(x)))
    NearDuplicates()(evidence)
    assert calls == [1000]
    monkeypatch.undo()
    assert NearDuplicates()(make_evidence(fake[:400], REAL, REAL)) == near_duplicates(REAL, fake[:400])
