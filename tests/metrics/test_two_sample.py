from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.metrics import MetricError, nearest_neighbour_accuracy

RNG = np.random.default_rng(0)
REAL, HONEST = RNG.normal(size=(2, 1000, 3))


def of_labels(real: np.ndarray, fake: np.ndarray) -> float:
    """What scikit-learn's classifier says, where nothing ties."""
    from sklearn.neighbors import KNeighborsClassifier

    both, side = np.concatenate([real, fake]), np.arange(2 * len(real)) < len(real)
    nearest = KNeighborsClassifier(1).fit(both, side).kneighbors(n_neighbors=1)[1][:, 0]
    return float((side[nearest] == side).mean())


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_is_the_accuracy_of_the_classifier(shift):
    assert nearest_neighbour_accuracy(REAL, HONEST + shift) == of_labels(REAL, HONEST + shift)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 3), st.integers(1, 6))
def test_ties_count_one_half(seed, n, d, width):
    real, fake = np.random.default_rng(seed).integers(0, width, (2, n, d))
    right = 0.0
    for one, other in ((real, fake), (fake, real)):
        within = np.square(one[:, None] - one[None]).sum(axis=2).astype(float)
        np.fill_diagonal(within, np.inf)
        own, across = within.min(axis=1), np.square(one[:, None] - other[None]).sum(axis=2).min(axis=1)
        right += ((own < across) + 0.5 * (own == across)).sum()
    assert nearest_neighbour_accuracy(real, fake) == pytest.approx(right / (2 * n))


def test_what_it_says_of_known_cases():
    assert nearest_neighbour_accuracy(REAL, HONEST) == pytest.approx(0.5, abs=0.05)
    assert nearest_neighbour_accuracy(REAL, HONEST + 100) == 1.0
    assert nearest_neighbour_accuracy(REAL, REAL) == 0.0
    assert nearest_neighbour_accuracy(np.ones((9, 2)), np.ones((9, 2))) == 0.5


def test_of_the_larger_set_a_draw():
    value = nearest_neighbour_accuracy(REAL, HONEST[:200])
    assert value == nearest_neighbour_accuracy(REAL, HONEST[:200]) and 0.4 < value < 0.6


def test_errors():
    with pytest.raises(MetricError, match="fake needs at least 2 rows"):
        nearest_neighbour_accuracy(REAL, HONEST[:1])
