"""MS-SSIM, structural similarity over several scales: do samples look alike?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ganbench.metrics.intervals import bootstrap
from ganbench.metrics.numerics.checks import as_array, positive_integer
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
K = (0.01, 0.03)
SMALLEST = 32
PAIRS = 1000
SEED = 2020
PAIRS_AT_ONCE = 100


def _images(values: Any, name: str, least: int) -> np.ndarray:
    array = as_array(values, name)
    if array.ndim != 4 or len(array) < least or array.dtype.kind not in "buif":
        raise MetricError(f"{name} must be at least {least} images (n, channels, height, width), not {array.shape}")
    if min(array.shape[2:]) < SMALLEST:
        raise MetricError(f"{name} must have at least {SMALLEST} pixels a side, not {array.shape[2]}x{array.shape[3]}")
    if not np.isfinite(array).all():
        raise MetricError(f"{name} holds a value that is not finite")
    return array


def scales_of(height: int, width: int) -> int:
    """How many of the five scales an image has room for: at each, the window of 11 pixels must fit."""
    fitting = [j for j in range(len(WEIGHTS)) if min(height, width) // 2**j >= WINDOW]
    return len(fitting)


def _blurred(images: Tensor) -> Tensor:
    """Gaussian means of all windows that lie within the images."""
    x = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    kernel = torch.exp(-x.square() / (2.0 * SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, WINDOW)
    rows = functional.conv2d(images, kernel, groups=images.shape[1])
    return functional.conv2d(rows, kernel.transpose(2, 3), groups=images.shape[1])


def _terms(x: Tensor, y: Tensor, span: float) -> tuple[Tensor, Tensor]:
    """Mean of luminance times contrast-structure, and of contrast-structure: each ``(n, channels)``."""
    c1, c2 = ((k * span) ** 2 for k in K)
    mx, my = _blurred(x), _blurred(y)
    vx, vy, covariance = _blurred(x * x) - mx * mx, _blurred(y * y) - my * my, _blurred(x * y) - mx * my
    structure = (2.0 * covariance + c2) / (vx + vy + c2)
    luminance = (2.0 * mx * my + c1) / (mx * mx + my * my + c1)
    return (luminance * structure).mean(dim=(2, 3)), structure.mean(dim=(2, 3))


def ms_ssim(first: Any, second: Any, span: float = 255.0) -> np.ndarray:
    """Multi-scale structural similarity of pairs of images.

    ``prod_j s_j^w_j`` with the mean contrast-structure ``s_j`` at scale j (at the last one times
    luminance), images being halved by averaging 2x2 pixels from scale to scale. The five weights are the
    paper's; where fewer scales fit (2 from 32 pixels a side, 3 from 44, 4 from 88, 5 from 176), those of the
    first are scaled to sum 1. Negative means count as 0. The mean over channels.

    Args:
        first: images ``(n, channels, height, width)``, at least 32 pixels a side.
        second: as many of the same shape.
        span: range of the values.

    Returns:
        ``(n,)``, in [0, 1]; 1 for equal images.

    Raises:
        MetricError: other or too small shapes, or a value that is not finite.

    Source:
        Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality
        assessment", equation 7.
    """
    one, two = _images(first, "first", 1), _images(second, "second", 1)
    if one.shape != two.shape:
        raise MetricError(f"first has the shape {one.shape} and second {two.shape}")
    weights = torch.tensor(WEIGHTS[: scales_of(*one.shape[2:])], dtype=torch.float64)
    weights = weights / weights.sum()
    found = []
    for start in range(0, len(one), PAIRS_AT_ONCE):
        x, y = (torch.from_numpy(np.float64(part[start : start + PAIRS_AT_ONCE])) for part in (one, two))
        value = torch.ones((), dtype=torch.float64)
        for j, weight in enumerate(weights):
            whole, structure = _terms(x, y, span)
            value = value * (whole if j == len(weights) - 1 else structure).clamp_min(0.0) ** weight
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        found.append(value.mean(dim=1))
    return torch.cat(found).numpy()


def similarities(images: Any, pairs: int = PAIRS, rng: int = SEED) -> np.ndarray:
    """``ms_ssim`` of seeded random pairs of different images, ``(pairs,)``; their mean is the metric.

    Args:
        images: uint8 ``(n, channels, height, width)``, n >= 2, at least 32 pixels a side.
        pairs: how many.
        rng: seed of the pairs.

    Raises:
        MetricError: as in ``ms_ssim``.

    Source:
        Odena, Olah and Shlens 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs" (pairs
        there are of one class; here of any).
    """
    array = _images(images, "images", 2)
    state = np.random.default_rng(rng)
    first = state.integers(len(array), size=positive_integer(pairs, "pairs"))
    second = (first + state.integers(1, len(array), size=pairs)) % len(array)
    return ms_ssim(array[first], array[second])


def of_evidence(evidence: Evidence) -> np.ndarray:
    shape = evidence.dataset.shape
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise NotApplicable(f"structural similarity needs images of at least {SMALLEST} pixels a side")
    return similarities(evidence.fake.samples)


class MultiScaleSimilarity(Metric):
    """How alike two samples look on average; far above the value of real images, the generator repeats itself."""

    name = "ms_ssim"
    label = "MS-SSIM"
    direction = "none"
    cost = "end"
    needs = frozenset({"samples"})
    constants = {"pairs": PAIRS, "window": WINDOW, "sigma": SIGMA, "seed": SEED}
    rows = (0, 2)
    requires = f"{SMALLEST} pixels a side"

    def __call__(self, evidence: Evidence) -> float:
        return float(evidence.once(of_evidence).mean())

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        return bootstrap(np.mean, evidence.once(of_evidence))


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [MultiScaleSimilarity()]
