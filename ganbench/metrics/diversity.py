"""How many different samples there are: the Vendi score."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.metrics.numerics.checks import features
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, NotApplicable


def vendi_score(values: Any) -> float:
    """``exp(-sum_i l_i log l_i)`` with the eigenvalues l of ``K / n``, K the matrix of cosine similarities.

    An effective number of different samples: n for orthogonal ones, 1 for copies. K/n = X X' / n and
    X' X / n, with rows of length 1, have the same eigenvalues beside zeros; the smaller is used. Two
    rows of zeros, which have no direction, are alike to each other and to nothing else.

    Args:
        values: features ``(n, d)``, n >= 1.

    Returns:
        The score, in [1, min(n, d)] (d + 1 with rows of zeros). It grows with n: compare at equal n.

    Raises:
        MetricError: no rows, or a value that is not finite.

    Source:
        Friedman and Dieng 2023, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning",
        with the cosine similarity that it takes of image embeddings.
    """
    x = features(values, "features", rows=1).astype(np.float64)
    largest = np.abs(x).max(axis=1, keepdims=True)
    x = x / np.where(largest > 0.0, largest, 1.0)  # so that no square overflows or vanishes
    x = np.concatenate([x, largest == 0.0], axis=1)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    matrix = x @ x.T if len(x) < x.shape[1] else x.T @ x
    eigenvalues = np.linalg.eigvalsh(matrix) / len(x)
    positive = eigenvalues[eigenvalues > 0.0]
    return float(np.exp(-np.sum(positive * np.log(positive))))


class VendiScore(Metric):
    """How many different samples there are, as an effective number; compare with that of as many real images."""

    name = "vendi"
    label = "Vendi"
    direction = "max"
    cost = "end"
    constants = {"kernel": "cosine", "q": 1}
    rows = (0, 1)
    requires = "images"

    def __call__(self, evidence: Evidence) -> float:
        if len(evidence.dataset.shape) == 1:
            raise NotApplicable("the cosine of points tells only their direction from the origin")
        return vendi_score(evidence.fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [VendiScore()]
