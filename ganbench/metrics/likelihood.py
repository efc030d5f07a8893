"""FLD: the likelihood of held-out data under Gaussians around the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.checks import feature_pair
from ganbench.metrics.numerics.distances import screened
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric

MOST = 5000
"""Training rows and samples at most, of more a seeded draw: the fit keeps all their distances (200 MB)."""
STEPS = 100
CLOSE_ENOUGH = 1e-6
LIMITS = -40.0, 40.0
"""Of the logarithm of a variance; copies of training rows end at the lower one."""
SEED = 2020


def squared_distances(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """All squared distances ``(n, m)``; those of copies are 0."""
    parts = [
        torch.where(squared > bound, squared, torch.zeros(())).to(torch.float64)
        for _, squared, bound in screened(points, others)
    ]
    return torch.cat(parts)


def log_densities(squared: torch.Tensor, log_variances: torch.Tensor, d: int) -> torch.Tensor:
    """Log densities ``(n, m)`` of m isotropic Gaussians in d dimensions, at squared distances ``(n, m)`` from them."""
    return -0.5 * (squared * (-log_variances).exp() + d * (log_variances + np.log(2.0 * np.pi)))


def fit_variances(centres: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    """The log variances ``(m,)`` with which Gaussians around the centres make the data most likely.

    Expectation maximisation from the variances that suit each centre's nearest row best. During the fit a broad
    Gaussian around the mean of the data, whose distances count 0.9, takes what no centre explains.
    """
    d = data.shape[1]
    squared = squared_distances(data, centres)
    origin = 0.81 * (data - data.mean(dim=0)).square().sum(dim=1, keepdim=True)
    squared = torch.cat([squared, origin], dim=1)
    found = torch.cat([((squared[:, :-1].amin(dim=0) + 1e-3) / d).log(), torch.zeros(1, dtype=torch.float64)])
    weights = torch.full_like(found, -np.log(len(centres)))
    weights[-1] = 0.0  # as published: the mean's Gaussian weighs as much as all others together
    before = -np.inf
    for _ in range(STEPS):
        joint = log_densities(squared, found, d) + weights
        total = joint.logsumexp(dim=1, keepdim=True)
        shares = joint.sub_(total).exp_()
        mass = shares.sum(dim=0)
        fresh = (shares * squared).sum(dim=0).div_(d * mass).log_().clamp_(*LIMITS)
        found = torch.where(mass > 1e-12, fresh, found)  # a centre far from all data explains nothing
        now = float(total.mean()) / d
        if now - before < CLOSE_ENOUGH:
            break
        before = now
    return found[:-1]


def mean_nll(centres: torch.Tensor, log_variances: torch.Tensor, data: torch.Tensor) -> float:
    """Mean negative log likelihood a dimension of the data under the mixture, each Gaussian with the same weight."""
    d, total = data.shape[1], 0.0
    for part in data.split(1000):
        joint = log_densities(squared_distances(part, centres), log_variances, d)
        total -= float(joint.logsumexp(dim=1).sum())
    return (total / len(data) + np.log(len(centres))) / d


def feature_likelihood_divergence(fake: Any, train: Any, test: Any, rng: int = SEED) -> float:
    """How much less likely samples make held-out data than real data would; high for bad, for few, and for copied ones.

    Each sample is the centre of an isotropic Gaussian, whose variance is fitted to the training data. A copy of a
    training row gets nearly none, and so explains no held-out row. The score is 100 times the mean negative log
    likelihood of the held-out rows a dimension, minus that of a mixture around one half of the training rows fitted
    to the other half. Features are first divided by the held-out standard deviation (constant ones are left).

    Args:
        fake: features ``(m, d)``, m >= 2.
        train: features ``(n, d)``, n >= 4.
        test: held-out features ``(l, d)``, l >= 2.
        rng: seed of the halves, and of draws of 5,000 rows from larger sets of samples and training rows.

    Returns:
        The score, in hundredths of a nat a dimension: about 0 for samples as good as training data and new; below 0
        if there are more of them than in half of the training set.

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Jiralerspong et al. 2023, "Feature Likelihood Divergence: Evaluating the Generalization of Generative Models
        Using Samples", section 3. The authors fit by Adam, here expectation maximisation does.
    """
    one, known = feature_pair(fake, train, rows=(2, 4), names=("fake", "train"))
    held, _ = feature_pair(test, train, rows=(2, 1), names=("test", "train"))
    mean, spread = held.mean(axis=0), held.std(axis=0, ddof=1)
    spread = np.where(spread > 1e-12 * np.abs(held).max(axis=0), spread, 1.0)
    state = np.random.default_rng(rng)
    known = known[state.permutation(len(known))[: 2 * MOST]]
    if len(one) > MOST:
        one = one[state.choice(len(one), MOST, replace=False)]
    samples, data, unseen = (torch.from_numpy((rows - mean) / spread) for rows in (one, known, held))
    half = min(len(samples), len(data) // 2, MOST)
    first, second = data[:half], data[half : half + MOST]
    base = mean_nll(first, fit_variances(first, second), unseen)
    data = data[:MOST]
    return 100.0 * (mean_nll(samples, fit_variances(samples, data), unseen) - base)


class FeatureLikelihoodDivergence(Metric):
    """How unlikely samples make held-out images, against training images; copies make them unlikely too."""

    name = "fld"
    label = "FLD"
    direction = "min"
    cost = "end"
    needs = frozenset({"features", "held_out"})
    floor = None
    constants = {"rows": MOST, "steps": STEPS, "seed": SEED}
    rows = (2, 2)
    requires = "4 training rows"
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        train = evidence.train().features
        return feature_likelihood_divergence(evidence.fake.features, train, evidence.real.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [FeatureLikelihoodDivergence()]
