from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from ganbench.metrics import MetricError, data_copying
from ganbench.metrics.copying import rank_z

RNG = np.random.default_rng(0)
TRAIN, TEST, HONEST = RNG.normal(size=(3, 600, 4))


def z_of(fake: np.ndarray, test: np.ndarray) -> float:
    n, m = len(fake), len(test)
    u = mannwhitneyu(fake, test).statistic
    return (u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)


@pytest.mark.parametrize("width", [3, 10**6])
def test_rank_z_is_the_mann_whitney_statistic(width):
    first, second = RNG.integers(0, width, 50), RNG.integers(0, width, 80)
    assert rank_z(first, second) == pytest.approx(z_of(first, second))


def test_one_cell_is_the_test_of_distances_to_the_training_data():
    def nearest(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - TRAIN[None], axis=2).min(axis=1)

    fake = HONEST * 0.9
    assert data_copying(fake, TRAIN, TEST, cells=1) == pytest.approx(z_of(nearest(fake), nearest(TEST)))


def test_cells_are_weighted_by_held_out_rows():
    shift = np.array([1000.0, 0, 0, 0])
    train, test = np.concatenate([TRAIN, TRAIN + shift]), np.concatenate([TEST, TEST[:200] + shift])
    fake = np.concatenate([HONEST, TRAIN + 1e-3 + shift])
    parts = [data_copying(HONEST, TRAIN, TEST, cells=1), data_copying(TRAIN + 1e-3, TRAIN, TEST[:200], cells=1)]
    assert data_copying(fake, train, test, cells=2) == pytest.approx(np.average(parts, weights=[600, 200]))
    # A cell with fewer than 20 samples does not count.
    assert data_copying(fake[:619], train, test, cells=2) == pytest.approx(parts[0])


def test_copies_are_far_below_zero_and_noise_far_above():
    assert abs(data_copying(HONEST, TRAIN, TEST)) < 2
    assert data_copying(TRAIN + 1e-3 * HONEST, TRAIN, TEST) < -5
    assert data_copying(3 * HONEST, TRAIN, TEST) > 3
    assert data_copying(TEST, TRAIN, TEST) == 0.0


def test_errors():
    with pytest.raises(MetricError, match="fake needs at least 20 rows"):
        data_copying(HONEST[:19], TRAIN, TEST)
    with pytest.raises(MetricError, match="train needs at least 10 rows"):
        data_copying(HONEST, TRAIN[:9], TEST)
    with pytest.raises(MetricError, match="none of the 2 cells"):
        data_copying(HONEST, np.concatenate([TRAIN, TRAIN + 1e4]), TEST + 1e4, cells=2)
