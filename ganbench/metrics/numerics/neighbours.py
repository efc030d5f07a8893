"""Distances from each row of a set to its k-th nearest other rows, from one pass over half of all pairs.

The first strips of tiles give each row a nearness that its k nearest are sure to reach. From then on a
tile is only compared with those thresholds, and the few entries above them are kept. Of what is kept, the
k-th nearest is decided by float32 where its bounds are far apart, and from float64 differences where not.
"""

from __future__ import annotations

import threading

import numpy as np
import torch

from ganbench.metrics.numerics.distances import nearest, pair_distances
from ganbench.metrics.numerics.float32_screen import Screen

STRIPS = 3
"""Strips of tiles that thresholds are read from."""
KEPT = 16
"""Kept entries a row, on average, at which the list is cut back to what can still be among the k nearest."""


def _keys(row: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Integers that sort by row and then by a float32 magnitude >= 0."""
    return row.astype(np.int64) << 32 | magnitude.view(np.int32)


class Neighbours:
    """The ``k`` nearest others of each row of a set.

    ``add`` takes the tiles of a pass over ``screen``; ``radii`` then tells distances. Where float32
    cannot tell the rows apart (copies by the hundred, ranges beyond it), float64 does all of it.
    """

    def __init__(self, screen: Screen, k: int) -> None:
        self.screen, self.k = screen, k
        self.crowded = not screen.fits
        self.least = np.full(len(screen.half), -np.inf, dtype=np.float32)
        self.best = np.full((k, len(screen.half)), -np.inf, dtype=np.float32)
        self.rows: list[np.ndarray] = []
        self.columns: list[np.ndarray] = []
        self.nearness: list[np.ndarray] = []
        self.found = 0
        self._lock = threading.Lock()
        self._spaces = threading.local()

    def add(self, rows: slice, columns: slice, tile: torch.Tensor) -> None:
        """Take one tile of ``tiles(screen)``; several threads may: thresholds that rise meanwhile only save work."""
        if self.crowded:
            return
        values = tile.numpy()
        diagonal = rows.start == columns.start
        if diagonal:
            values = values.copy()
            np.fill_diagonal(values, -np.inf)
        # Beside other threads a later strip may come first.
        if rows.start < STRIPS * (rows.stop - rows.start) or np.isneginf(self.least[columns].min()):
            self._raise(rows, columns, values)
        spaces = self._spaces.__dict__
        if "masks" not in spaces or spaces["masks"].shape[1] < values.size:
            spaces["masks"] = np.empty((2, values.size), dtype=bool)
        mask, other = (space[: values.size].reshape(values.shape) for space in spaces["masks"])
        np.greater_equal(values, self.least[rows, None], out=mask)
        if not diagonal:
            np.logical_or(mask, np.greater_equal(values, self.least[columns], out=other), out=mask)
        flat = np.flatnonzero(mask)
        if 4 * len(flat) > mask.size and len(values) > 10 * self.k:
            self.crowded = True
            return
        row, column = np.divmod(flat, values.shape[1])
        near = values.ravel()[flat]
        row, column = (row + rows.start).astype(np.int32), (column + columns.start).astype(np.int32)
        with self._lock:
            self._keep(row, column, near)
            if not diagonal:
                self._keep(column, row, near)
            if self.found > KEPT * self.k * len(self.least):
                self._prune()
                self.crowded = 2 * self.found > KEPT * self.k * len(self.least)

    def _raise(self, rows: slice, columns: slice, values: np.ndarray) -> None:
        """Thresholds of the columns: the k-th best of groups of the rows so far, each at its surest."""
        sure = values - self.screen.slack[rows, None]
        size = max(1, min(16, len(values) // (4 * (self.k + 1))))
        groups = len(values) // size
        best = sure[: size * groups].reshape(size, groups, -1).max(axis=0)
        best = np.partition(best, -self.k, axis=0)[-self.k :] if groups > self.k else best
        with self._lock:
            best = np.partition(np.concatenate([self.best[:, columns], best]), -self.k, axis=0)[-self.k :]
            self.best[:, columns] = best
            self.least[columns] = np.maximum(self.least[columns], self._below(best[0] - self.screen.slack[columns]))

    @staticmethod
    def _below(values: np.ndarray) -> np.ndarray:
        """Float32 values lowered by what two roundings can have raised them."""
        return values - np.float32(4e-7) * np.abs(values)

    def _keep(self, row: np.ndarray, column: np.ndarray, near: np.ndarray) -> None:
        keep = near >= self.least[row]
        self.rows.append(row[keep])
        self.columns.append(column[keep])
        self.nearness.append(near[keep])
        self.found += len(self.rows[-1])

    def _prune(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Raise the thresholds to what is known, and drop what is below.

        Returns:
            rows in ascending order, columns, nearnesses, and magnitudes of which minus is surely below the truth.
        """
        row, column, near = (np.concatenate(parts) for parts in (self.rows, self.columns, self.nearness))
        slack = self.screen.slack
        far = np.maximum(-self._below(near - (slack[row] + slack[column])), np.float32(0.0))
        order = np.argsort(_keys(row, far))
        row, column, near, far = row[order], column[order], near[order], far[order]
        counts = np.bincount(row, minlength=len(self.least))
        enough = counts >= self.k
        kth = np.cumsum(counts) - counts + self.k - 1
        self.least[enough] = np.maximum(self.least[enough], -far[kth[enough]])
        keep = near >= self.least[row]
        row, column, near, far = row[keep], column[keep], near[keep], far[keep]
        self.rows, self.columns, self.nearness = [row], [column], [near]
        self.found = len(row)
        return row, column, near, far

    def radii(self, *ks: int) -> list[np.ndarray]:
        """Distances ``(n,)`` to the k-th nearest other row for each of ``ks``, as float64 differences have them."""
        if self.crowded:
            points = self.screen.features.tensor.double()
            distances = nearest(points, points, self.k, own=torch.arange(len(points)))[0].numpy()
            return [np.ascontiguousarray(distances[:, k - 1]) for k in ks]
        kept = self._prune()
        return [self._radius(k, *kept) for k in ks]

    def _radius(self, k: int, row: np.ndarray, column: np.ndarray, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        n = len(self.least)
        first = np.searchsorted(row, np.arange(n))
        close = np.maximum(-near, np.float32(0.0))
        # The k-th distance lies between the k-th of the lower and the k-th of the upper bounds.
        lower = close[np.argsort(_keys(row, close))][first + k - 1]
        upper = far[first + k - 1]
        nearer = np.bincount(row[far < lower[row]], minlength=n)
        open_ = (close <= upper[row]) & (far >= lower[row])
        row, column = row[open_], column[open_]
        points = self.screen.features.tensor
        exact = pair_distances(
            points, points, *(torch.from_numpy(end.astype(np.int64)) for end in (row, column))
        ).numpy()
        order = np.lexsort((exact, row))
        first = np.searchsorted(row, np.arange(n))
        return exact[order][first + k - nearer - 1]
