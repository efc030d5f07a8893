"""The nearest-neighbour two-sample test: can one tell from a sample's nearest neighbour whether it is real?"""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from ganbench.plugin import Metric, MetricError, hookimpl


def neighbour_accuracy(real, fake):
    """Leave-one-out accuracy of the 1-nearest-neighbour classifier of real (label 0) and fake (label 1) features.

    Args:
        real: features (n, d).
        fake: features (m, d). Of both, the first min(n, m) rows are used, so that guessing gives 1/2.

    Returns:
        The accuracy, in [0, 1]: 1/2 if they cannot be told apart, 1 if they never mix, below 1/2 if fakes sit on
        top of real rows.

    Raises:
        MetricError: fewer than 2 rows.

    Source:
        Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests"; for GANs Xu et al. 2018, "An empirical
        study on evaluation metrics of generative adversarial networks".
    """
    n = min(len(real), len(fake))
    if n < 2:
        raise MetricError(f"a nearest neighbour needs at least 2 rows of each kind, not {n}")
    rows = np.concatenate([real[:n], fake[:n]]).astype(np.float64)
    is_fake = np.arange(2 * n) >= n
    # Without an argument, kneighbors leaves out the row itself.
    nearest = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(return_distance=False)[:, 0]
    return float((is_fake[nearest] == is_fake).mean())


class NeighbourAccuracy(Metric):
    """Accuracy of the 1-nearest-neighbour classifier; 1/2 is best, so neither direction is better."""

    name = "nn_accuracy"
    label = "1-NN accuracy"
    direction = "none"
    cost = "end"
    needs = frozenset({"features"})
    constants = {"k": 1}
    rows = (2, 2)

    def __call__(self, evidence):
        return neighbour_accuracy(evidence.real.features, evidence.fake.features)


@hookimpl
def ganbench_metrics():
    return [NeighbourAccuracy()]
