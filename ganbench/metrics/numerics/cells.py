"""Cells of the feature space: k-means of one set, and which cell each row of another lies in."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from ganbench.metrics.numerics.distances import nearest


class Cells:
    """The Voronoi cells of k-means centres; the same whatever the number of threads.

    Args:
        values: what k-means clusters, float64 ``(n, d)``, n >= number.
        number: of cells. Where ``values`` has fewer different rows, the others stay empty.
        seed: of k-means.
    """

    def __init__(self, values: np.ndarray, number: int, seed: int) -> None:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        self.number = number
        self.mean = values.mean(axis=0)
        self.scale = float(np.abs(values - self.mean).max()) or 1.0  # k-means is blind to both; no square overflows
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than cells
            found = KMeans(number, n_init=1, random_state=seed).fit(self._seen(values))
        self.centres = torch.from_numpy(found.cluster_centers_)

    def of(self, values: np.ndarray) -> np.ndarray:
        """The cell ``(n,)`` of each row, the first of equally near ones."""
        return nearest(torch.from_numpy(self._seen(values)), self.centres, 1)[1].numpy()

    def _seen(self, values: np.ndarray) -> np.ndarray:
        return (values - self.mean) / self.scale
