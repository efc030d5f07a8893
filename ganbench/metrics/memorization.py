"""Authenticity: are samples copies of training data?"""

from __future__ import annotations

from typing import Any

import torch

from ganbench.metrics.intervals import bootstrap_share
from ganbench.metrics.numerics.checks import feature_pair
from ganbench.metrics.numerics.distances import nearest
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric


def authenticity(fake: Any, train: Any) -> float:
    """Share of samples farther from their nearest training image than that image is from its own nearest neighbour.

    The nearest neighbour of a training image is another one (another row, which may be a copy, at
    distance 0). Of equally near training images the first counts. An exact copy of a training image
    is never authentic. Compare with the value of held-out real data: far below it, copies are made.

    Args:
        fake: features ``(n, d)``, n >= 1.
        train: features ``(m, d)`` of the training set, m >= 2.

    Returns:
        The share, in [0, 1].

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Alaa et al. 2022, "How Faithful is your Synthetic Data?", authenticity with nearest neighbours.
    """
    x, y = map(torch.from_numpy, feature_pair(fake, train, rows=(1, 2), names=("fake", "train")))
    distances, index = nearest(x, y, 1)
    used, which = index.unique(return_inverse=True)
    own, _ = nearest(y[used], y, 1, own=used)
    return float((distances[:, 0] > own[which, 0]).double().mean())


class Authenticity(Metric):
    """Share of samples that are no near copies of a training image; compare with that of held-out real images."""

    name = "authenticity"
    label = "Authenticity"
    direction = "none"
    cost = "end"
    floor = "test"
    rows = (0, 1)
    requires = "2 training rows"

    def __call__(self, evidence: Evidence) -> float:
        return authenticity(evidence.fake.features, evidence.train().features)

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        return bootstrap_share(value, len(evidence.fake.features))


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [Authenticity()]
