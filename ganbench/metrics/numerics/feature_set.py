"""A set of features as scores see it: checked once, with whatever is derived from it computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
import torch

from ganbench.metrics.numerics.checks import features
from ganbench.plugin.interfaces import MetricError, Side

Derived = TypeVar("Derived")


class FeatureSet:
    """Features, and what scores derive from them (mean, covariance, radii, kernel sums), each computed when first used.

    Wherever a score takes an array of features it takes this too. Real data that many sets of fakes
    are compared with are worth wrapping once: the second comparison finds their side done. The array
    is not copied if it can be helped, and must not be changed afterwards.

    Args:
        values: ``(n, d)``; float32 stays float32, anything else becomes float64.
        name: what errors call it.

    Raises:
        MetricError: not such an array, or a value that is not finite or above 1e40 in magnitude.
    """

    def __init__(self, values: Any, name: str = "features") -> None:
        self.name = name
        checked = features(values, name, rows=1)
        self.values: np.ndarray = checked if checked.flags.writeable else checked.copy()  # torch takes no other
        self._known: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.values)

    @property
    def width(self) -> int:
        """Features a row."""
        return int(self.values.shape[1])

    @property
    def tensor(self) -> torch.Tensor:
        """The values, in the memory that they are in."""
        return torch.from_numpy(self.values)

    def knows(self, key: Hashable) -> bool:
        """Whether ``once`` has been called with ``key``."""
        return key in self._known

    def once(self, key: Hashable, compute: Callable[[], Derived]) -> Derived:
        """``compute()``, remembered under ``key``."""
        if key not in self._known:
            self._known[key] = compute()
        found: Derived = self._known[key]
        return found


def feature_set(values: Any, name: str, rows: int) -> FeatureSet:
    """``values``, an array or a FeatureSet, as a FeatureSet of at least ``rows`` rows; MetricError if it is not one."""
    found = values if isinstance(values, FeatureSet) else FeatureSet(values, name)
    if len(found) < rows:
        raise MetricError(f"{name} needs at least {rows} rows, not {len(found)}")
    return found


def feature_sets(real: Any, fake: Any, rows: tuple[int, int]) -> tuple[FeatureSet, FeatureSet]:
    """Both as FeatureSets of one width with at least so many rows; MetricError if they are not."""
    one, two = feature_set(real, "real", rows[0]), feature_set(fake, "fake", rows[1])
    if one.width != two.width:
        raise MetricError(f"real has {one.width} features a row and fake {two.width}")
    return one, two


def of_side(side: Side) -> FeatureSet:
    """For ``Side.once``: a side's features, wrapped."""
    return FeatureSet(side.features)


def features_of(side: Side) -> FeatureSet:
    """A side's features, wrapped once: what scores derive from them stays with the side."""
    found: FeatureSet = side.once(of_side)
    return found
