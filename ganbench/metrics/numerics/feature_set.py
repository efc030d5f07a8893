"""A set of features: checked once, with whatever scores derive from it computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
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
        values: ``(n, d)``; float32 stays float32, anything else becomes float64. They may be a tensor on a GPU.
        name: what errors call it.
        device: where products of its rows are made; by default where the values lie.

    Attributes:
        arrays: by name, what ``export_arrays`` hands out.

    Raises:
        MetricError: not such an array, or a value that is not finite or above 1e40 in magnitude.
    """

    def __init__(self, values: Any, name: str = "features", device: torch.device | str | None = None) -> None:
        if isinstance(values, torch.Tensor) and values.device.type != "cpu":
            device, values = device or values.device, values.detach().cpu()
            values = (values if values.dtype is torch.float32 else values.double()).numpy()
        self.name, self.device = name, torch.device(device or "cpu")
        checked = features(values, name, rows=1)
        self.values: np.ndarray = checked if checked.flags.writeable else checked.copy()  # torch takes no other
        self._known: dict[Hashable, Any] = {}
        self.arrays: dict[str, np.ndarray] = {}

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

    def once(self, key: Hashable, compute: Callable[[], Derived]) -> Derived:
        """``compute()``, remembered under ``key``."""
        if key not in self._known:
            self._known[key] = compute()
        found: Derived = self._known[key]
        return found

    def export_arrays(self) -> dict[str, np.ndarray]:
        """What took long to compute from these features, as far as a score has asked for it, to be kept on disk.

        Returns:
            ``mean`` ``(d,)``, ``covariance`` ``(d, d)`` (its upper triangle counts) and ``cholesky``, its factor; and
            ``radii.<k>`` ``(n,)``, distances to the k-th nearest other row.
        """
        return {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}

    def import_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take what ``export_arrays`` gave for equal features; call it before any score is computed from them."""
        self.arrays.update(arrays)


def device_of(*sets: FeatureSet, wide: bool = False) -> torch.device:
    """The GPU that one of some sets lies on, where products of their rows are made; else the CPU.

    ``wide``: for products of float64 too, which Apple's GPUs do not have.
    """
    found = next((one.device for one in sets if one.device.type != "cpu"), torch.device("cpu"))
    return torch.device("cpu") if wide and found.type == "mps" else found


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
    """A side's features as a FeatureSet, for ``Side.once``."""
    return FeatureSet(side.features, device=side.device)


def features_of(side: Side) -> FeatureSet:
    """A side's features, wrapped once: what scores derive from them stays with the side."""
    found: FeatureSet = side.once(of_side)
    return found
