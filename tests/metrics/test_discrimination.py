from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ganbench.metrics import MetricError, NotApplicable, balanced_accuracy, roc_auc
from ganbench.metrics.discrimination import ganbench_metrics
from ganbench.plugin.interfaces import Scores


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(1, 50), st.integers(1, 8))
def test_area_agrees_with_scikit_learn_and_flips(seed, n, m, width):
    rng = np.random.default_rng(seed)
    real, fake = rng.integers(0, width, n) / 7, rng.integers(0, width, m) / 7
    area = roc_auc(real, fake)
    assert area == pytest.approx(roc_auc_score([1] * n + [0] * m, np.concatenate([real, fake])))
    assert roc_auc(fake, real) == pytest.approx(1 - area)
    assert roc_auc(np.exp(real), np.exp(fake)) == area


def test_area_at_its_ends_and_at_equilibrium():
    assert roc_auc([2.0, 3.0], [0.0, 1.0]) == 1.0
    assert roc_auc([0.0, 1.0], [2.0, 3.0]) == 0.0
    assert roc_auc(np.ones(5), np.ones(9)) == 0.5


def test_accuracy():
    assert balanced_accuracy([1.0, 2.0, -1.0, 3.0], [-1.0, -2.0], 0.0) == (3 / 4 + 1) / 2
    assert balanced_accuracy([0.9] * 7, [0.2, 0.6], 0.5) == 0.75
    assert balanced_accuracy(np.full(5, 0.5), np.full(90, 0.5), 0.5) == 0.5
    assert balanced_accuracy(np.full(5, 9.0), np.full(90, 9.0), 0.5) == 0.5


def test_scores_must_be_finite():
    for bad in ([np.nan, 1.0], [], [[1.0]]):
        with pytest.raises(MetricError):
            roc_auc(bad, [0.0])
        with pytest.raises(MetricError):
            balanced_accuracy([0.0], bad, 0.0)


def test_metrics_tell_the_splits_apart(make_evidence):
    x = np.zeros((4, 2))
    scores = Scores(train=np.array([5.0, 6.0]), test=np.array([-1.0, 4.0]), fake=np.array([-2.0, 3.0]), threshold=0.0)
    evidence = make_evidence(x, x, x, scores=scores)
    values = {metric.name: metric(evidence) for metric in ganbench_metrics()}
    assert values == {"d_auc": 0.75, "d_auc_train": 1.0, "d_accuracy": 0.5}


def test_not_applicable(make_evidence):
    x = np.zeros((4, 2))
    metrics = {metric.name: metric for metric in ganbench_metrics()}
    for metric in metrics.values():
        with pytest.raises(NotApplicable, match="discriminator"):
            metric(make_evidence(x, x, x))
    critic = make_evidence(x, x, x, scores=Scores(np.ones(2), np.ones(2), np.zeros(2)))
    assert metrics["d_auc"](critic) == 1.0
    with pytest.raises(NotApplicable, match="critic"):
        metrics["d_accuracy"](critic)
