"""Neighbours and balls where the features lie: candidates are found on a GPU, and decided on the CPU in float64.

A GPU makes the same float32 products, with the same bounds, by strips of rows against all columns. What a strip tells
stays on the GPU in tensors of fixed sizes, so that nothing waits for it; all of it comes back once, after the last
strip. Every pair that the bounds leave open comes back with it and is decided from float64 differences on the CPU, so
counts and radii are those of the CPU to the last bit, also on Apple's GPUs, which have no float64. A row with more
open pairs than there is room for is looked at again in float64, all of it.
"""

from __future__ import annotations

import numpy as np
import torch

from ganbench.metrics.numerics.balls import MARGIN, Balls
from ganbench.metrics.numerics.distances import nearest
from ganbench.metrics.numerics.float32_screen import Screen, threshold
from ganbench.metrics.numerics.neighbours import Neighbours

CANDIDATES = 64
"""Nearest rows of a row that come back, and open pairs."""
ROUNDING = 2.0**-22
"""Relative width that float32 arithmetic on thresholds and slacks may need: two roundings, each of 2^-24."""


class NeighboursOnDevice(Neighbours):
    """``Neighbours`` from strips on a device; ``screen`` lies there."""

    def __init__(self, screen: Screen, k: int) -> None:
        super().__init__(screen, k)
        n = len(screen.half)
        self.kept = min(max(CANDIDATES, 2 * k), n - 1)
        self.near = screen.right.new_empty(n, self.kept)
        self.which = torch.empty(n, self.kept, dtype=torch.int64, device=screen.right.device)

    def add(self, rows: slice, columns: slice, tile: torch.Tensor) -> None:
        """Take one strip of ``tiles(screen)``; its diagonal is overwritten."""
        if self.crowded:
            return
        tile[:, rows].fill_diagonal_(-torch.inf)
        self.near[rows], self.which[rows] = tile.topk(self.kept, dim=1)

    def radii(self, *ks: int) -> list[np.ndarray]:
        if self.crowded:
            return super().radii(*ks)
        n = len(self.least)
        near, which = self.near.cpu().numpy(), self.which.cpu().numpy()
        self.rows = [np.repeat(np.arange(n, dtype=np.int32), self.kept)]
        self.columns, self.nearness = [which.ravel().astype(np.int32)], [near.ravel()]
        found = super().radii(*ks)  # which raises ``least`` to what each of the k nearest is sure to reach
        again = np.flatnonzero(near[:, -1] >= self.least) if self.kept < n - 1 else np.empty(0, dtype=np.int64)
        if len(again):
            points, index = self.screen.features.tensor.double(), torch.from_numpy(again)
            distances = nearest(points[index], points, self.k, own=index)[0].numpy()
            for radii, k in zip(found, ks, strict=True):
                radii[again] = distances[:, k - 1]
        return found


class BallsOnDevice(Balls):
    """``Balls`` from strips on a device; ``real`` and ``fake`` lie there."""

    def __init__(
        self,
        real: Screen,
        fake: Screen,
        closed: np.ndarray | None,
        opened: np.ndarray | None,
        around_fake: np.ndarray | None,
    ) -> None:
        super().__init__(real, fake, closed, opened, around_fake)
        self.device = real.right.device
        n, m = len(real.half), len(fake.half)
        self.slack_row, self.slack_column = self._there(real.slack)[:, None], self._there(fake.slack)
        self.limits = {
            kind: (self._there(threshold(radii, real.scale)), self._there(self._sure(radii, own, other)))
            for kind, radii, own, other in (
                ("closed", closed, real, fake),
                ("opened", opened, real, fake),
                ("around_fake", around_fake, fake, real),
            )
            if radii is not None
        }
        self.found = {
            "held": torch.zeros(m, dtype=torch.bool, device=self.device),
            **{name: torch.zeros(n, dtype=torch.bool, device=self.device) for name in ("covered", "recalled")},
            **{name: torch.zeros(n, dtype=torch.int32, device=self.device) for name in ("hits", "open")},
        }
        self.kept = min(CANDIDATES, m)
        self.near = torch.full((n, self.kept), -torch.inf, device=self.device)
        self.which = torch.zeros(n, self.kept, dtype=torch.int64, device=self.device)

    def _there(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)

    def _sure(self, radii: np.ndarray, own: Screen, other: Screen) -> np.ndarray:
        """What nearness, less the slack of the other row, a pair is surely in the ball at; rounded up to float32."""
        limit, slack = -0.5 * np.square(radii * self.real.scale), own.slack.astype(np.float64)
        room = ROUNDING * (np.abs(limit) + slack + float(other.slack.max()))
        with np.errstate(over="ignore"):
            return np.nextafter(np.float32(limit * (1.0 - MARGIN) + slack + room), np.float32(np.inf))

    def add(self, rows: slice, columns: slice, tile: torch.Tensor) -> None:
        """Take one strip of ``tiles(real, fake)``."""
        sure, unsure = {}, torch.zeros_like(tile, dtype=torch.bool)
        for kind, (least, surely) in self.limits.items():
            if kind == "around_fake":
                low, high = least, surely + self.slack_row[rows]
            else:
                low, high = least[rows, None], surely[rows, None] + self.slack_column
            sure[kind] = tile > high
            unsure |= (tile >= low) & ~sure[kind]
        found = self.found
        if "closed" in sure:
            found["held"] |= sure["closed"].any(dim=0)
        if "opened" in sure:
            found["covered"][rows] = sure["opened"].any(dim=1)
            found["hits"][rows] = (sure["opened"] & ~unsure).sum(dim=1, dtype=torch.int32)
        if "around_fake" in sure:
            found["recalled"][rows] = sure["around_fake"].any(dim=1)
        found["open"][rows] = unsure.sum(dim=1, dtype=torch.int32)
        self.near[rows], self.which[rows] = tile.masked_fill_(~unsure, -torch.inf).topk(self.kept, dim=1)

    def finish(self) -> None:
        """Bring back what the strips told, and decide what they left open."""
        found = {name: tensor.cpu().numpy() for name, tensor in self.found.items()}
        near, which = self.near.cpu().numpy(), self.which.cpu().numpy()
        self.held |= found["held"]
        self.covered |= found["covered"]
        self.recalled |= found["recalled"]
        few = found["open"] <= self.kept
        self.hits += int(found["hits"][few].sum())
        row, at = np.nonzero((near > -np.inf) & few[:, None])
        if len(row):
            self._decide(row, which[row, at], near[row, at])
        if not few.all():
            self.in_double(np.flatnonzero(~few))
