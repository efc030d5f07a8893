"""Float32 products of all pairs of rows: upper bounds of how near two rows are, and how far off these can be.

The *nearness* of two rows is minus half their squared distance, ``x.y - |x|^2 / 2 - |y|^2 / 2``: one
matrix product if the norms ride along as columns. In float32 that is several times faster than float64,
and the rounding has a bound that holds for any order of summation. The bound is added to the norms
beforehand, so that an entry of the product is never below the true nearness: whatever lies below a
threshold is certainly beyond it, and what lies above is looked at again (``nearness``, ``slack``).
Work goes by tiles that stay in a core's cache; no n x n matrix is kept.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.feature_set import FeatureSet

TILE = (512, 1024)
"""Rows and columns of a tile at most: 2 MiB."""
STRIP = 2**24
"""Elements of a strip of rows against all columns, which a GPU takes at a time: 64 MiB."""
CONVERTED = 2**17
"""Elements that are converted to float64 at a time: 1 MiB."""
TINY = 1e-32
"""Covers what underflows in float32, in units of the scaled features."""
LARGEST = 1e30
"""Largest squared norm, in the same units, that float32 takes."""


@contextlib.contextmanager
def plain_float32() -> Iterator[None]:
    """A block in which float32 products are computed in float32, whatever precision the process has chosen."""
    switches: list[Any] = [torch.backends.mkldnn.matmul, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "ieee"
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False), torch.no_grad():
            yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


class Frame:
    """A centre and a scale for both sets of a pair: the mean of the real one, and a power of two near its spread."""

    def __init__(self, real: FeatureSet) -> None:
        self.centre = sum(chunk.sum(axis=0) for chunk in float64_parts(real)) / len(real)
        spread = sum(float(np.square(chunk - self.centre).sum()) for chunk in float64_parts(real)) / len(real)
        self.scale = 2.0 ** -round(float(np.log2(spread)) / 2) if 1e-200 < spread < 1e200 else 1.0


class Screen:
    """A set of features in a frame, ready for products.

    Attributes:
        right: ``(n, d + 4)`` float32, what the columns of a tile are made from; what else there is is on the CPU.
        along: inner products ``(n,)`` of the centred features with the centre.
        half: half the squared norms ``(n,)`` of the scaled and centred features, float64.
        slack: ``(n,)`` float32; of a pair, the estimate is above the truth by at most the sum of both rows' slacks.
        fits: whether float32 has the range; if not, there is nothing to multiply.
    """

    def __init__(self, features: FeatureSet, frame: Frame) -> None:
        self.features, self.scale = features, frame.scale
        n, d = features.values.shape
        self.half, self.along = np.empty((2, n))
        self.right = torch.empty(n, d + 4, dtype=torch.float32)
        # Of x.y - h - h' (d + 4 terms, hi and lo parts of the norms apart) the sum of magnitudes is at most 2 (h + h');
        # each is off by a rounding of its factors and, in any order of summation, by one for each addition.
        error = 2.0 * (d + 8) * 2.0**-24
        view = self.right.numpy()
        start = 0
        for chunk in float64_parts(features):
            rows = slice(start, start + len(chunk))
            chunk -= frame.centre
            self.along[rows] = chunk @ frame.centre
            chunk *= frame.scale
            self.half[rows] = 0.5 * np.einsum("nd,nd->n", chunk, chunk)
            with np.errstate(over="ignore"):
                view[rows, :d] = chunk
            start += len(chunk)
        self.fits = bool(self.half.max() < LARGEST)
        self.lowered = (1.0 - error) * self.half - TINY if self.fits else self.half
        if self.fits:
            high = self.lowered.astype(np.float32)
            view[:, d : d + 2] = 1.0
            view[:, d + 2], view[:, d + 3] = -high, -(self.lowered - high)
        slack = 2.0 * error * self.half + 4.0 * TINY
        self.slack: np.ndarray = (slack * (1.0 + 1e-6)).astype(np.float32) if self.fits else slack

    def on(self, device: torch.device) -> Screen:
        """The same with ``right`` on a device, where ``tiles`` are made."""
        found = copy.copy(self)
        found.right = self.right.to(device)
        return found

    def take(self, index: np.ndarray) -> Screen:
        """The same screen of some of the rows."""
        found = copy.copy(self)
        found.along = self.along[index]
        found.right = self.right[torch.from_numpy(index).to(self.right.device)]
        found.half = self.half[index]
        found.lowered, found.slack = self.lowered[index], self.slack[index]
        return found

    def left(self, rows: slice) -> torch.Tensor:
        """Rows of the other factor: the same with norms and ones in each other's place."""
        d = self.features.width
        right = self.right[rows]
        return torch.cat([right[:, :d], right[:, d + 2 :], right[:, d : d + 2]], dim=1)


def float64_parts(features: FeatureSet) -> Iterator[np.ndarray]:
    """The rows in float64, some at a time."""
    step = max(1, CONVERTED // features.width)
    for start in range(0, len(features), step):
        yield features.values[start : start + step].astype(np.float64)


def frame_of(real: FeatureSet) -> Frame:
    return real.once("frame", lambda: Frame(real))


def screen_of(features: FeatureSet, frame: Frame) -> Screen:
    return features.once(("screen", frame), lambda: Screen(features, frame))


Tile = tuple[slice, slice, torch.Tensor]


def tiles(points: Screen, others: Screen | None = None) -> Iterator[Tile]:
    """Nearnesses, never below the true ones: of all pairs, or, without ``others``, of each pair of ``points`` once.

    Yields:
        rows of ``points``; rows of ``others``; ``(rows, columns)`` float32, overwritten by the next. Without
        ``others`` the tiles lie on and above the diagonal; those on it are square and hold each pair twice. On a GPU
        they are strips of all columns, also without ``others``.
    """
    return chain.from_iterable(strip() for strip in strips(points, others))


def strips(points: Screen, others: Screen | None = None) -> list[Callable[[], Iterator[Tile]]]:
    """The tiles by strips of rows, each of which may be gone through in a thread of its own."""
    right = (others or points).right
    n, height = len(points.right), TILE[0] if points.right.device.type == "cpu" else max(1, STRIP // len(right))
    return [partial(_strip, points, others, slice(top, min(top + height, n))) for top in range(0, n, height)]


def _strip(points: Screen, others: Screen | None, rows: slice) -> Iterator[Tile]:
    right, left = (others or points).right, points.left(rows)
    if right.device.type != "cpu":
        yield rows, slice(0, len(right)), left @ right.T
        return
    width = TILE[1] if others is not None else TILE[0]
    space = torch.empty(len(left) * min(width, len(right)), dtype=torch.float32)
    for start in range(0 if others is not None else rows.start, len(right), width):
        columns = slice(start, min(start + width, len(right)))
        shape = (len(left), columns.stop - start)
        tile = space[: shape[0] * shape[1]].view(shape)
        torch.mm(left, right[columns].T, out=tile)
        yield rows, columns, tile


def threshold(radii: np.ndarray, scale: float) -> np.ndarray:
    """The nearness of a distance, rounded down to float32."""
    with np.errstate(over="ignore"):
        return np.nextafter(np.float32(-0.5 * np.square(radii * scale)), np.float32(-np.inf))
