from __future__ import annotations

import numpy as np
import pytest

from ganbench.metrics import MetricError, precision_recall, probabilistic_precision_recall

RNG = np.random.default_rng(0)
REAL, HONEST = RNG.normal(size=(2, 400, 5))


def by_definition(real: np.ndarray, fake: np.ndarray, k: int, a: float) -> tuple[float, float]:
    def radius(x: np.ndarray) -> float:
        return a * np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, k].mean()

    between = np.linalg.norm(real[:, None] - fake[None], axis=2)
    real_balls, fake_balls = (np.maximum(1 - between / radius(side), 0) for side in (real, fake))
    return (1 - (1 - real_balls).prod(axis=0)).mean(), (1 - (1 - fake_balls).prod(axis=1)).mean()


@pytest.mark.parametrize(("n", "m", "k", "a"), [(400, 300, 4, 1.2), (50, 400, 4, 1.2), (30, 20, 1, 2.0)])
def test_follows_the_definition(n, m, k, a):
    found = probabilistic_precision_recall(REAL[:n], HONEST[:m] + 0.4, k, a)
    assert list(found.values()) == pytest.approx(by_definition(REAL[:n], HONEST[:m] + 0.4, k, a), abs=1e-12)


def test_sets_apart_and_sets_that_are_the_same():
    assert set(probabilistic_precision_recall(REAL, HONEST + 100).values()) == {0.0}
    assert list(probabilistic_precision_recall(REAL, REAL).values()) == pytest.approx([1.0, 1.0], abs=1e-6)


def test_one_outlier_moves_it_less_than_precision():
    fake = HONEST + np.array([12.0, 0, 0, 0, 0])
    outlier = REAL.copy()
    outlier[0] = [30.0, 0, 0, 0, 0]
    assert precision_recall(outlier, fake)["precision"] > 0.9
    assert probabilistic_precision_recall(outlier, fake)["p_precision"] < 0.02


def test_errors():
    with pytest.raises(MetricError, match="at least 5 rows"):
        probabilistic_precision_recall(REAL[:4], HONEST)
    with pytest.raises(MetricError, match="every row of fake has at least 4 exact copies"):
        probabilistic_precision_recall(REAL, np.ones((20, 5)))
    with pytest.raises(MetricError, match="stretch"):
        probabilistic_precision_recall(REAL, HONEST, stretch=0.0)
