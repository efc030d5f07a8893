"""The nearest-neighbour two-sample test: can the nearest other sample tell real from generated?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.checks import feature_pair
from ganbench.metrics.numerics.distances import nearest
from ganbench.metrics.samples import equal_numbers
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric

SEED = 2020


def nearest_neighbour_accuracy(real: Any, fake: Any, rng: int = SEED) -> float:
    """Leave-one-out accuracy of the 1-nearest-neighbour classifier that tells real samples from generated ones.

    Each row of both sets is given the side of the nearest other row of the two together. Where the nearest of the
    own and of the other side are equally near, it counts one half. As many of one set are taken as the other has.

    Args:
        real: features ``(n, d)``, n >= 2.
        fake: features ``(m, d)``, m >= 2.
        rng: seed of the draw from the larger set.

    Returns:
        The accuracy, in [0, 1]: 1/2 for samples of the real distribution, 1 for sets apart, 0 for copies of the
        real rows themselves.

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests", section 3; Xu et al. 2018, "An empirical
        study on evaluation metrics of generative adversarial networks", section 2.
    """
    pair = equal_numbers(*feature_pair(real, fake, rows=(2, 2)), np.random.default_rng(rng))
    sides = [torch.from_numpy(rows) for rows in pair]
    right = 0.0
    for one, other in (sides, sides[::-1]):
        own = nearest(one, one, 1, own=torch.arange(len(one)))[0]
        across = nearest(one, other, 1)[0]
        right += float((own < across).sum()) + 0.5 * float((own == across).sum())
    return right / (len(sides[0]) + len(sides[1]))


class NearestNeighbourAccuracy(Metric):
    """How well the nearest neighbour tells samples from real data: 1/2 not at all, 1 always, near 0 for copies."""

    name = "one_nn"
    label = "1-NN accuracy"
    direction = "none"
    cost = "end"
    constants = {"k": 1, "seed": SEED}
    rows = (2, 2)

    def __call__(self, evidence: Evidence) -> float:
        return nearest_neighbour_accuracy(evidence.real.features, evidence.fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [NearestNeighbourAccuracy()]
