"""Sums of the cubic kernel over many subsets at once, from the tiles of a pass over pairs of rows.

All subsets share one matrix K of kernel values: a subset's sum is ``z' K z`` with the indicator ``z``
of its rows, so each tile of K is multiplied by a matrix of indicators. What is summed is the kernel
minus its value at the mean, which is the same for every pair and cancels in the unbiased estimate:
float32 then rounds deviations, not values.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
import torch

from ganbench.metrics.numerics.feature_set import FeatureSet
from ganbench.metrics.numerics.float32_screen import Frame, Screen, screen_of


class Rows:
    """One set's rows, ready for kernel values.

    Attributes:
        screen: the rows.
        linear: ``(n,)`` float32; kernel arguments are ``factor * nearness + linear + linear'`` beside a constant.
        indicators: ``(n, subsets)`` float64, 1 where a row is in a subset.
    """

    def __init__(self, screen: Screen, linear: torch.Tensor, indicators: torch.Tensor) -> None:
        self.screen, self.linear, self.indicators = screen, linear, indicators

    def on(self, device: torch.device) -> Rows:
        """The same on a device."""
        return Rows(self.screen.on(device), self.linear.to(device), self.indicators.to(device))

    def take(self, index: np.ndarray) -> Rows:
        """Some rows, all in one subset."""
        which = torch.from_numpy(index).to(self.linear.device)
        return Rows(self.screen.take(index), self.linear[which], self.indicators.new_ones(len(index), 1))


def _factor(frame: Frame) -> float:
    """Of nearness in kernel arguments; float32 holds it, so that norms cancel to the last digit."""
    return float(np.float32(1.0 / (frame.scale**2 * len(frame.centre))))


def rows_of(features: FeatureSet, frame: Frame, draws: np.ndarray) -> Rows:
    """A set's rows in a frame, with subsets ``draws`` ``(subsets, size)``."""
    screen, d = screen_of(features, frame), features.width
    linear = screen.lowered * _factor(frame) + screen.along / d
    indicators = torch.zeros(len(features), len(draws), dtype=torch.float64)
    indicators.scatter_(0, torch.from_numpy(draws.T.astype(np.int64)), 1.0)
    return Rows(screen, torch.from_numpy(np.float32(linear)), indicators)


class GramSums:
    """Sums over pairs of rows in each subset of ``(x.y / d + 1)^3`` minus a constant.

    Args:
        real: the real rows.
        fake: the fakes, on the same device.
        frame: where both are seen from.
        reals: what an earlier pass over the real rows found, or None.

    Attributes:
        device: where the rows lie. The sums are float64 tensors there, until ``arrays`` brings them back.
        reals: ``(subsets,)`` over ordered pairs of different real rows.
        known: whether they were given.
        fakes: the same of fakes.
        both: ``(subsets,)`` over pairs of a real row and a fake.
    """

    def __init__(self, real: Rows, fake: Rows, frame: Frame, reals: np.ndarray | None = None) -> None:
        self.real, self.fake, self.known = real, fake, reals is not None
        d = len(frame.centre)
        self.factor, self.at_mean = _factor(frame), 1.0 + float(frame.centre @ frame.centre) / d
        self.device = real.linear.device
        self.fakes, self.both, none = real.indicators.new_zeros(3, real.indicators.shape[1])
        self.reals = none if reals is None else torch.from_numpy(reals).to(self.device)
        self.slope = torch.full((), 3.0 * self.at_mean**2, dtype=torch.float32, device=self.device)
        self._spaces = threading.local()

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``reals``, ``fakes`` and ``both``."""
        reals, fakes, both = torch.stack([self.reals, self.fakes, self.both]).cpu().numpy()
        return reals, fakes, both

    def add(
        self,
        reals: Iterable[torch.Tensor] = (),
        fakes: Iterable[torch.Tensor] = (),
        both: Iterable[torch.Tensor] = (),
    ) -> None:
        """Take what all tiles add, in their order: sums have the same bits whatever threads made them."""
        for total, parts in ((self.reals, reals), (self.fakes, fakes), (self.both, both)):
            for part in parts:
                total += part

    def of_reals(self, rows: slice, columns: slice, tile: torch.Tensor) -> torch.Tensor:
        """What a tile of the real rows among themselves adds to ``reals``."""
        return self._sums(self.real, self.real, rows, columns, tile)

    def of_fakes(self, rows: slice, columns: slice, tile: torch.Tensor) -> torch.Tensor:
        """What a tile of the fakes among themselves adds to ``fakes``."""
        return self._sums(self.fake, self.fake, rows, columns, tile)

    def of_both(self, rows: slice, columns: slice, tile: torch.Tensor) -> torch.Tensor:
        """What a tile of real rows and fakes adds to ``both``."""
        return self._sums(self.real, self.fake, rows, columns, tile)

    def _space(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Room for a tile, one of each thread's own: two of float32 and one of float64."""
        known = self._spaces.__dict__
        if "narrow" not in known or known["narrow"].shape[1] < size:
            known["narrow"], known["wide"] = self.slope.new_empty(2, size), self.reals.new_empty(size)
        one, two = known["narrow"]
        return one[:size], two[:size], known["wide"][:size]

    def _sums(self, left: Rows, right: Rows, rows: slice, columns: slice, tile: torch.Tensor) -> torch.Tensor:
        x, value, wide = (space.view(tile.shape) for space in self._space(tile.numel()))
        torch.add(left.linear[rows, None], tile, alpha=self.factor, out=x)
        x += right.linear[columns]
        # (c + x)^3 - c^3 = x (3 c^2 + x (3 c + x)): nothing cancels.
        torch.add(x, 3.0 * self.at_mean, out=value)
        torch.addcmul(self.slope, x, value, out=value)
        value *= x
        own = left is right and columns.start <= rows.start < columns.stop
        if own:  # pairs of a row with itself do not count; the others stand here in both orders
            value[:, rows.start - columns.start :].fill_diagonal_(0.0)
        # In float64: the sums of a row's values have one sign, and float32 would round them a thousandfold.
        products = (wide.copy_(value) @ right.indicators[columns]) * left.indicators[rows]
        return (1.0 if own or left is not right else 2.0) * products.sum(dim=0)
