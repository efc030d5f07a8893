from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from ganbench.metrics import MetricError, feature_likelihood_divergence
from ganbench.metrics.likelihood import fit_variances, mean_nll

RNG = np.random.default_rng(0)
TRAIN, TEST, HONEST = RNG.normal(size=(3, 600, 4))


def objective(log_variances: np.ndarray, centres: np.ndarray, data: np.ndarray) -> float:
    """Mean log likelihood with the broad Gaussian around the mean, in plain NumPy."""
    d = data.shape[1]
    squared = np.square(data[:, None] - centres[None]).sum(axis=2)
    origin = 0.81 * np.square(data - data.mean(axis=0)).sum(axis=1)
    squared = np.concatenate([squared, origin[:, None]], axis=1)
    weights = np.r_[np.full(len(centres), -np.log(len(centres))), 0.0]
    log_density = -0.5 * (squared / np.exp(log_variances) + d * (log_variances + np.log(2 * np.pi)))
    return float(logsumexp(log_density + weights, axis=1).mean())


def test_the_fit_is_a_maximum_that_a_general_optimiser_does_not_improve():
    centres, data = HONEST[:12], TRAIN[:150]
    found = fit_variances(*map(torch.from_numpy, (centres, data))).numpy()
    origin = minimize(lambda v: -objective(np.r_[found, v], centres, data), [0.0]).x
    reached = objective(np.r_[found, origin], centres, data)
    better = minimize(lambda v: -objective(v, centres, data), np.r_[found, origin], method="L-BFGS-B")
    assert -better.fun - reached < 2e-3


def test_likelihood_of_a_known_mixture():
    centres, logs = HONEST[:7], np.linspace(-1, 1, 7)
    squared = np.square(TEST[:20, None] - centres[None]).sum(axis=2)
    density = np.log((np.exp(-squared / (2 * np.exp(logs))) / (2 * np.pi * np.exp(logs)) ** 2).mean(axis=1))
    found = mean_nll(*map(torch.from_numpy, (centres, logs, TEST[:20])))
    assert found == pytest.approx(-np.mean(density) / 4, rel=1e-10)


def test_honest_samples_are_at_zero_and_failures_above():
    honest = feature_likelihood_divergence(HONEST[:300], TRAIN, TEST)
    assert abs(honest) < 3
    for fake in (3 * HONEST, HONEST + 2, np.abs(HONEST)):
        assert feature_likelihood_divergence(fake[:300], TRAIN, TEST) > honest + 3


def test_copies_of_training_rows_are_far_worse_than_new_samples():
    assert feature_likelihood_divergence(TRAIN[:300], TRAIN, TEST) > 1e6
    half = np.concatenate([TRAIN[:150] + 1e-4, HONEST[:150]])
    assert feature_likelihood_divergence(half, TRAIN, TEST) > feature_likelihood_divergence(HONEST[:300], TRAIN, TEST)


def test_blind_to_the_scale_of_features_and_to_constant_ones():
    value = feature_likelihood_divergence(HONEST, TRAIN, TEST)
    scale = 2.0 ** np.arange(4)
    assert feature_likelihood_divergence(HONEST * scale, TRAIN * scale, TEST * scale) == pytest.approx(value, rel=1e-6)
    more = [np.concatenate([x, np.ones((600, 1))], axis=1) for x in (HONEST, TRAIN, TEST)]
    assert np.isfinite(feature_likelihood_divergence(*more))


def test_errors():
    for fake, train, test, word in (
        (HONEST[:1], TRAIN, TEST, "fake"),
        (HONEST, TRAIN[:3], TEST, "train"),
        (HONEST, TRAIN, TEST[:1], "test"),
    ):
        with pytest.raises(MetricError, match=f"{word} needs at least"):
            feature_likelihood_divergence(fake, train, test)
