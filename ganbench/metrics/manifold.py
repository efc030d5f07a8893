"""Precision and recall, density and coverage: which samples lie near real ones, and the other way round."""

from __future__ import annotations

from typing import Any

from ganbench.metrics.intervals import bootstrap_share
from ganbench.metrics.numerics.checks import positive_integer
from ganbench.metrics.numerics.feature_set import feature_sets, features_of
from ganbench.metrics.numerics.pair import pair_of
from ganbench.metrics.numerics.threads import shared
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric

BALL_K = 3
DENSITY_K = 5
CLOSED, OPEN = {"k": BALL_K, "ball": "closed"}, {"k": DENSITY_K, "ball": "open"}


def _scores(real: Any, fake: Any, ball_k: int | None, density_k: int | None) -> dict[str, float]:
    """Precision and recall where ``ball_k`` is given, density and coverage where ``density_k`` is."""
    largest = max(positive_integer(k, "k") for k in (ball_k, density_k) if k is not None)
    one, two = feature_sets(real, fake, rows=(largest + 1, (ball_k or 0) + 1))
    with shared():
        return dict(pair_of(one, two).ball_scores((ball_k, density_k)))


def precision_recall(real: Any, fake: Any, k: int = BALL_K) -> dict[str, float]:
    """Share of fakes on the real manifold, and of real samples on the fakes' manifold.

    A set's manifold is the union of balls around its samples that reach to their k-th nearest other
    sample of the set. The balls are closed (``<=``), so that copies of a sample lie in its ball even
    where k copies make its radius 0. A set against itself scores 1 and 1.

    Args:
        real: features ``(n, d)``, n > k.
        fake: features ``(m, d)``, m > k.
        k: the neighbour that sets a radius; the sample itself is not counted, copies of it are.

    Returns:
        ``precision`` and ``recall``, each in [0, 1].

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative
        Models", section 2, equations 1 and 2.
    """
    return _scores(real, fake, k, None)


def density_coverage(real: Any, fake: Any, k: int = DENSITY_K) -> dict[str, float]:
    """How many real balls hold a fake, on average over fakes, and which share of real balls holds one.

    A real sample's ball reaches to its k-th nearest other real sample and is open (``<``), as in the
    authors' code: a fake exactly on the boundary is outside. Hence a real sample with k or more exact copies
    has a ball of radius 0, which nothing is in, not even a copy; a real set of which every sample has
    k copies scores 0 and 0. A set without such copies scores density 1 (no ties) and coverage 1
    against itself.

    Args:
        real: features ``(n, d)``, n > k.
        fake: features ``(m, d)``, m >= 1.
        k: the neighbour that sets a radius; the sample itself is not counted, copies of it are.

    Returns:
        ``density``, >= 0, 1 in expectation for samples of the real distribution and above 1 where
        fakes crowd where real samples are dense; ``coverage``, in [0, 1].

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", section 3.
    """
    return _scores(real, fake, None, k)


def manifold_scores(real: Any, fake: Any, ball_k: int = BALL_K, density_k: int = DENSITY_K) -> dict[str, float]:
    """``precision_recall`` with ``ball_k`` and ``density_coverage`` with ``density_k``, from one pass."""
    return _scores(real, fake, ball_k, density_k)


def of_evidence(evidence: Evidence) -> dict[str, float]:
    """All four scores of one evaluation, for ``Evidence.once``."""
    return manifold_scores(features_of(evidence.real), features_of(evidence.fake))


class ManifoldScore(Metric):
    """One of the four; the first that is asked for computes them all."""

    direction = "max"
    rows = (DENSITY_K + 1, BALL_K + 1)

    def __call__(self, evidence: Evidence) -> float:
        return evidence.once(of_evidence)[self.name]


class Precision(ManifoldScore):
    """Share of samples that look real: samples that lie near real ones in feature space."""

    name = "precision"
    label = "Precision"
    constants = CLOSED
    biased_by = "outliers"

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        return bootstrap_share(value, len(evidence.fake.features))


class Recall(ManifoldScore):
    """Share of real samples that the generator reaches: real samples that lie near generated ones in feature space."""

    name = "recall"
    label = "Recall"
    constants = CLOSED
    biased_by = "outliers"


class Density(ManifoldScore):
    """How many real samples a sample lies near, against what is expected of real data; a few outliers hardly count."""

    name = "density"
    label = "Density"
    constants = OPEN
    biased_by = "outliers"


class Coverage(ManifoldScore):
    """Share of real samples that have a generated sample near by."""

    name = "coverage"
    label = "Coverage"
    constants = OPEN
    biased_by = "number of samples"


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [Precision(), Recall(), Density(), Coverage()]
