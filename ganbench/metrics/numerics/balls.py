"""Which rows of one set lie in balls around rows of another, from one pass over all pairs."""

from __future__ import annotations

import numpy as np
import torch

from ganbench.metrics.numerics.distances import pair_distances, screened
from ganbench.metrics.numerics.float32_screen import Screen, threshold

PENDING = 2**20
"""Candidate pairs that are gathered before they are decided."""
MARGIN = 1e-9
"""Relative width around a threshold that float64 arithmetic on thresholds and bounds may need."""
KINDS = ("closed", "opened", "around_fake")


class Balls:
    """Balls around real rows and around fake rows, and what is in them.

    ``add`` takes the tiles of a pass over ``tiles(real, fake)``, and ``finish`` decides the rest. Every
    pair is decided as float64 differences decide it.

    Args:
        real: the rows of the tiles.
        fake: the columns.
        closed: radii ``(n,)`` of closed balls around real rows, or None.
        opened: radii ``(n,)`` of open balls around real rows, or None.
        around_fake: radii ``(m,)`` of closed balls around fake rows, or None.

    Attributes:
        held: ``(m,)``, whether a fake is in a closed ball.
        covered: ``(n,)``, whether an open ball has a fake in it.
        recalled: ``(n,)``, whether a real row is in the ball of a fake.
        hits: number of pairs of an open ball and a fake in it.
    """

    def __init__(
        self,
        real: Screen,
        fake: Screen,
        closed: np.ndarray | None,
        opened: np.ndarray | None,
        around_fake: np.ndarray | None,
    ) -> None:
        self.real, self.fake = real, fake
        self.closed, self.opened, self.around_fake = closed, opened, around_fake
        n, m = len(real.half), len(fake.half)
        self.held, self.covered, self.recalled = np.zeros(m, bool), np.zeros(n, bool), np.zeros(n, bool)
        self.hits = 0
        largest = [radii for radii in (closed, opened) if radii is not None]
        self.row_least = threshold(np.max(largest, axis=0), real.scale) if largest else None
        self.column_least = None if around_fake is None else threshold(around_fake, real.scale)
        self.rows: list[np.ndarray] = []
        self.columns: list[np.ndarray] = []
        self.nearness: list[np.ndarray] = []
        self.pending = 0
        self.spaces = np.empty((2, 0), dtype=bool)

    def add(self, rows: slice, columns: slice, tile: torch.Tensor) -> None:
        """Take one tile of ``tiles(real, fake)``."""
        values = tile.numpy()
        if self.spaces.shape[1] < values.size:
            self.spaces = np.empty((2, values.size), dtype=bool)
        mask, other = (space[: values.size].reshape(values.shape) for space in self.spaces)
        if self.row_least is not None:
            np.greater_equal(values, self.row_least[rows, None], out=mask)
        if self.column_least is not None and not self.recalled[rows].all():
            target = mask if self.row_least is None else other
            np.greater_equal(values, self.column_least[columns], out=target)
            if 16 * np.count_nonzero(target) > target.size:
                self._deepest(rows, columns, values)
            target &= ~self.recalled[rows, None]
            if target is other:
                mask |= other
        elif self.row_least is None:
            return
        flat = np.flatnonzero(mask)
        row, column = np.divmod(flat, values.shape[1])
        self.rows.append(row + rows.start)
        self.columns.append(column + columns.start)
        self.nearness.append(values.ravel()[flat])
        self.pending += len(flat)
        if self.pending > PENDING:
            self.finish()

    def _deepest(self, rows: slice, columns: slice, values: np.ndarray) -> None:
        """Decide each row's pair deepest in a fake's ball: fakes far apart have balls that hold everything."""
        best = (values - self.column_least[columns]).argmax(axis=1)  # type: ignore[index]
        row = np.arange(len(values))
        self._decide(row + rows.start, best + columns.start, values[row, best], kinds=("around_fake",))

    def finish(self) -> None:
        """Decide what is pending."""
        if not self.pending:
            return
        row, column, near = (np.concatenate(parts) for parts in (self.rows, self.columns, self.nearness))
        self.rows, self.columns, self.nearness, self.pending = [], [], [], 0
        self._decide(row, column, near)

    def merge(self, other: Balls) -> None:
        """Take what another found in tiles of its own, which is finished."""
        self.held |= other.held
        self.covered |= other.covered
        self.recalled |= other.recalled
        self.hits += other.hits

    def in_double(self, index: np.ndarray) -> None:
        """Count the balls of some real rows from float64 products: float32 has no range for them, or cannot tell."""
        fake = self.fake.features.tensor.double()
        for rows, squared, bound in screened(self.real.features.tensor[torch.from_numpy(index)].double(), fake):
            row, column = np.indices(squared.shape).reshape(2, -1)
            upper, lower = (
                -0.5 * self.real.scale**2 * (squared + sign * bound).numpy().ravel() for sign in (-1.0, 1.0)
            )
            self.decide(index[row + rows.start], column, upper, lower)

    def scores(self, density_k: int | None) -> dict[str, float]:
        """Precision and recall if there are closed balls, density and coverage if there are open ones, of radius k."""
        scores: dict[str, float] = {}
        if self.closed is not None:
            scores |= {"precision": float(self.held.mean()), "recall": float(self.recalled.mean())}
        if density_k is not None:
            scores |= {"density": self.hits / (density_k * len(self.held)), "coverage": float(self.covered.mean())}
        return scores

    def _decide(self, row: np.ndarray, column: np.ndarray, near: np.ndarray, kinds: tuple[str, ...] = KINDS) -> None:
        slack = self.real.slack[row].astype(np.float64) + self.fake.slack[column]
        self.decide(row, column, near, near - slack, kinds)

    def decide(
        self,
        row: np.ndarray,
        column: np.ndarray,
        upper: np.ndarray,
        lower: np.ndarray,
        kinds: tuple[str, ...] = KINDS,
    ) -> None:
        """Count pairs whose nearness lies between bounds; of some kinds of balls."""
        of_pair = {
            "closed": (self.closed, row),
            "opened": (self.opened, row),
            "around_fake": (self.around_fake, column),
        }
        limits = {kind: radii[index] for kind, (radii, index) in of_pair.items() if kind in kinds and radii is not None}
        inside, unsure = {}, {}
        for kind, radii in limits.items():
            limit = -0.5 * np.square(radii * self.real.scale)
            inside[kind] = lower > limit * (1.0 - MARGIN)
            unsure[kind] = (upper >= limit * (1.0 + MARGIN)) & ~inside[kind]
        again = np.flatnonzero(np.any(list(unsure.values()), axis=0))
        exact = pair_distances(
            self.real.features.tensor,
            self.fake.features.tensor,
            torch.from_numpy(row[again]),
            torch.from_numpy(column[again]),
        ).numpy()
        for kind, mask in inside.items():
            radii = limits[kind][again]
            settled = exact < radii if kind == "opened" else exact <= radii
            mask[again] |= unsure[kind][again] & settled
        if "closed" in inside:
            self.held[column[inside["closed"]]] = True
        if "opened" in inside:
            self.covered[row[inside["opened"]]] = True
            self.hits += int(np.count_nonzero(inside["opened"]))
        if "around_fake" in inside:
            self.recalled[row[inside["around_fake"]]] = True
