from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from ganbench.metrics import MetricError, NotApplicable, inception_score
from ganbench.metrics.inception import InceptionScore


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def peer(logits: np.ndarray, splits: int) -> tuple[float, float]:
    out = isc_features_to_metric(torch.from_numpy(logits), splits=splits)
    return out[KEY_METRIC_ISC_MEAN], out[KEY_METRIC_ISC_STD]


@pytest.mark.parametrize("n, splits", [(5003, None), (5000, 10), (500, 10), (123, 7)])
def test_agrees_with_torch_fidelity(n, splits):
    logits = 3.0 * np.random.default_rng(n).normal(size=(n, 10))
    mean, std = peer(logits, splits or 10)
    assert inception_score(softmax(logits), splits=splits) == (
        pytest.approx(mean, rel=1e-11),
        pytest.approx(std, rel=1e-8),
    )


@pytest.mark.parametrize("n", [10, 4999])
def test_one_split_below_five_thousand(n):
    logits = 3.0 * np.random.default_rng(n).normal(size=(n, 10))
    mean, std = inception_score(softmax(logits))
    assert mean == pytest.approx(peer(logits, 1)[0], rel=1e-11)
    assert math.isnan(std)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_sure_and_uniform_predictions_score_the_number_of_classes(classes):
    assert inception_score(np.tile(np.eye(classes), (3, 1)))[0] == pytest.approx(classes, rel=1e-13)


def test_one_class_or_no_idea_scores_one():
    assert inception_score(np.tile([0.0, 1.0, 0.0], (9, 1)))[0] == pytest.approx(1.0, abs=1e-14)
    assert inception_score(np.full((9, 4), 0.25))[0] == pytest.approx(1.0, abs=1e-14)


def test_float32_rounding_of_the_rows_is_scaled_away():
    p = softmax(np.random.default_rng(0).normal(size=(200, 10)))
    assert inception_score(p.astype(np.float32))[0] == pytest.approx(inception_score(p)[0], rel=1e-6)


@pytest.mark.parametrize(
    "values", [np.random.default_rng(0).normal(size=(50, 10)), np.full((5, 4), 0.5), [[1.5, -0.5]], [[0.0, 0.0]]]
)
def test_what_is_no_probability(values):
    with pytest.raises(MetricError, match="softmax"):
        inception_score(values)


def test_more_splits_than_rows():
    with pytest.raises(MetricError, match="splits"):
        inception_score(np.eye(3), splits=4)
    with pytest.raises(MetricError, match="splits"):
        inception_score(np.eye(3), splits=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 12))
def test_between_one_and_the_classes_and_blind_to_order(seed, n, classes):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.2), size=n)
    value, _ = inception_score(p)
    assert 1.0 - 1e-12 <= value <= classes + 1e-9
    assert inception_score(rng.permutation(p))[0] == pytest.approx(value, rel=1e-10)


def test_falls_as_classes_are_dropped():
    p = np.tile(np.eye(10) * 0.9 + 0.01, (20, 1))
    values = [inception_score(p[p.argmax(1) < kept])[0] for kept in (10, 7, 4, 1)]
    assert all(more > 1.2 * fewer for more, fewer in pairwise(values))


def test_metric(make_evidence):
    p = softmax(np.random.default_rng(0).normal(size=(20, 3)))
    x = np.zeros((20, 2))
    assert InceptionScore()(make_evidence(x, x, x, probabilities=(p, None))) == inception_score(p)[0]
    with pytest.raises(NotApplicable, match="probabilities"):
        InceptionScore()(make_evidence(x, x, x))
