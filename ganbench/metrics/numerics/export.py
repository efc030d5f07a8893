"""What a set of real features is known by, as arrays that a later process can take up again."""

from __future__ import annotations

import numpy as np
import torch

from ganbench.metrics.numerics.feature_set import FeatureSet
from ganbench.metrics.numerics.gaussian import Gaussian, gaussian_of

RADII = "radii."


def arrays_of(features: FeatureSet) -> dict[str, np.ndarray]:
    """Mean, covariance, its Cholesky factor and k-nearest-neighbour radii, as far as they were computed."""
    found: dict[str, np.ndarray] = {}
    if features.knows("gaussian"):
        known = vars(gaussian_of(features))
        if "_stream" in known:
            mean, covariance = known["_stream"]
            found |= {"mean": mean.numpy(), "covariance": covariance.T}
            if known.get("cholesky") is not None:
                found["cholesky"] = known["cholesky"].T
    if features.knows("radii"):
        radii: dict[int, np.ndarray] = features.once("radii", dict)
        found |= {f"{RADII}{k}": array for k, array in radii.items()}
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def take_up(features: FeatureSet, arrays: dict[str, np.ndarray]) -> None:
    """Give features what ``arrays_of`` returned for the same ones, before anything is computed from them."""
    if {"mean", "covariance"} <= arrays.keys():
        gaussian: Gaussian = gaussian_of(features)
        # LAPACK reads columns; they were kept as rows.
        vars(gaussian)["_stream"] = (torch.from_numpy(arrays["mean"]), arrays["covariance"].T)
        if "cholesky" in arrays:
            vars(gaussian)["cholesky"] = arrays["cholesky"].T
    radii: dict[int, np.ndarray] = {
        int(name.removeprefix(RADII)): array for name, array in arrays.items() if name.startswith(RADII)
    }
    if radii:
        known: dict[int, np.ndarray] = features.once("radii", dict)
        known.update(radii)
