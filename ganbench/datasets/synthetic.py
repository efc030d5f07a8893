"""Mixtures of Gaussians in the plane, whose modes are known (Srivastava et al. 2017, VEEGAN, section 4)."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Dataset

POINTS = {"train": 50_000, "test": 2_500}


def named_stream(name: str) -> np.random.RandomState:
    """A random generator that is seeded by ``name``.

    RandomState is frozen (NEP 19): unlike those of Generator, its draws never change with the NumPy version.
    """
    return np.random.RandomState(np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4"))


class GaussianMixture(Dataset):
    """Points in the plane from a mixture of equally likely round Gaussians; a point's class is its Gaussian.

    Draws are made in float64 and rounded to float32, which hides the last digits in which the
    mathematical functions of two platforms may differ.
    """

    shape = (2,)
    primary = "recovered_mass"
    family = "gaussian mixture"
    centres: np.ndarray
    std: float

    @property
    def classes(self) -> int:  # type: ignore[override]
        return len(self.centres)

    def load(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Points ``(n, 2)`` float32 and the index of their modes ``(n,)`` int64."""
        n = POINTS[split]
        rng = named_stream(f"{self.name}/{split}")
        labels = rng.randint(0, len(self.centres), size=n, dtype=np.int64)
        points = self.centres[labels] + self.std * rng.standard_normal((n, 2))
        return points.astype(np.float32), labels


def ring_centres() -> np.ndarray:
    """Eight points on the unit circle, ``(8, 2)``, counter-clockwise from (1, 0)."""
    half = math.sqrt(0.5)
    quarter = [(1.0, 0.0), (half, half)]
    turns = [lambda x, y: (x, y), lambda x, y: (-y, x), lambda x, y: (-x, -y), lambda x, y: (y, -x)]
    # Adding 0.0 turns -0.0 into 0.0.
    return np.array([turn(x, y) for turn in turns for x, y in quarter]) + 0.0


def grid_centres() -> np.ndarray:
    """The 25 points of {-4, -2, 0, 2, 4}^2, ``(25, 2)``, row by row."""
    side = np.arange(-4.0, 5.0, 2.0)
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)


@hookimpl
def ganbench_datasets() -> list[Dataset]:
    return [
        GaussianMixture(name="ring8", centres=ring_centres(), std=0.01, budget_images=200_000),
        GaussianMixture(name="grid25", centres=grid_centres(), std=0.05, budget_images=400_000),
    ]
