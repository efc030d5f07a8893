from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.harness.metric_values import apply
from ganbench.metrics import MetricError, prd_curve, prd_scores
from ganbench.metrics.clusters import PrecisionRecallDistributions, best_f

KEYS = ("prd", "f8", "f_1_8")


def test_a_set_against_itself_scores_one():
    x = np.random.default_rng(0).normal(size=(200, 6))
    assert prd_scores(x, x, runs=3) == pytest.approx(dict.fromkeys(KEYS, 1.0), abs=1e-12)
    assert prd_scores(np.ones((9, 3)), np.ones((9, 3)), clusters=4) == pytest.approx(dict.fromkeys(KEYS, 1.0))


def test_disjoint_sets_score_nothing():
    x = np.random.default_rng(0).normal(size=(300, 4))
    assert prd_scores(x, x + 100.0) == pytest.approx(dict.fromkeys(KEYS, 0.0), abs=1e-2)


def f(precision: float, recall: float, beta: float) -> float:
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def test_the_curve_of_two_bins():
    # Of P = (1, 0) and Q = (1/2, 1/2): alpha = min(l, 1/2), beta = alpha / l.
    precision, recall = prd_curve([3, 0], [5, 5])
    slopes = np.tan(np.arange(1, 1002) / 1002 * np.pi / 2)
    assert precision == pytest.approx(np.minimum(slopes, 0.5))
    assert recall == pytest.approx(np.minimum(1.0, 0.5 / slopes))
    assert best_f(precision, recall, 8.0) == pytest.approx(f(0.5, 1.0, 8.0), rel=1e-2)
    assert best_f(precision, recall, 1 / 8) == pytest.approx(f(0.5, 1.0, 1 / 8), rel=1e-2)


def test_dropped_modes_cost_recall_and_invented_ones_precision():
    rng = np.random.default_rng(1)
    centres = 20.0 * rng.normal(size=(20, 5))

    def draw(modes: int) -> np.ndarray:
        return centres[np.arange(600) % modes] + 0.1 * rng.normal(size=(600, 5))

    dropped, invented = prd_scores(draw(20), draw(10), runs=3), prd_scores(draw(10), draw(20), runs=3)
    # k-means finds the twenty modes: half of them have precision 1 and recall 1/2.
    assert dropped["f8"] == pytest.approx(f(1.0, 0.5, 8.0), abs=0.05)
    assert dropped["f_1_8"] > 0.9
    assert invented["f_1_8"] == pytest.approx(f(0.5, 1.0, 1 / 8), abs=0.05)
    assert invented["f8"] > 0.9
    assert dropped["prd"] == pytest.approx(f(1.0, 0.5, 1.0), abs=0.06)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=25))
def test_curves_lie_in_the_square_and_swap_with_their_sets(counts):
    p, q = np.array([*counts, (1, 1)]).T
    precision, recall = prd_curve(p, q)
    assert precision.min() >= 0 and max(precision.max(), recall.max()) <= 1 + 1e-12
    swapped = prd_curve(q, p)
    assert swapped[0] == pytest.approx(recall[::-1], rel=1e-9)
    for beta in (8.0, 1.0, 1 / 8):
        assert best_f(*swapped, beta) == pytest.approx(best_f(precision, recall, 1 / beta), rel=1e-9)


def test_seeded_scale_free_and_larger_sets_are_drawn_down():
    rng = np.random.default_rng(2)
    real, fake = rng.normal(size=(500, 3)), 0.5 * rng.normal(size=(300, 3))
    first = prd_scores(real, fake, runs=2)
    assert prd_scores(real, fake, runs=2) == first
    assert prd_scores(1e30 * real, 1e30 * fake, runs=2) == pytest.approx(first, abs=0.02)
    assert prd_scores(real, fake, runs=2, rng=1) != first


def test_errors():
    x = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(MetricError, match="20 clusters"):
        prd_scores(x, x)
    for p, q in (([1, 2], [1]), ([-1, 2], [1, 1]), ([0, 0], [1, 1])):
        with pytest.raises(MetricError, match="same bins"):
            prd_curve(p, q)


def test_metric_gives_three_columns(make_evidence):
    real, fake = np.random.default_rng(3).normal(size=(2, 60, 3))
    values = apply([PrecisionRecallDistributions()], make_evidence(fake, real, real)).values
    expected = prd_scores(real, fake)
    assert values == {"prd": expected["prd"], "prd.f8": expected["f8"], "prd.f_1_8": expected["f_1_8"]}
