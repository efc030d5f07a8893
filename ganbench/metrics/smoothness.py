"""Perceptual path length: how fast samples change along paths in latent space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganbench.metrics.intervals import MeanMetric
from ganbench.metrics.numerics.checks import features
from ganbench.metrics.samples import EXTRACTOR_BATCH, extract, unquantised
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable
from ganbench.plugin.variant import device_of

EPSILON = 1e-2
PATHS = 1000


def spherical_interpolation(first: Tensor, second: Tensor, t: Tensor) -> Tensor:
    """The point at ``t`` on the arc from ``first`` to ``second``: rows ``(n, d)``, ``t`` ``(n, 1)``.

    ``sin((1 - t) w) / sin w * first + sin(t w) / sin w * second`` with the angle w between them, which
    keeps to the sphere that normal vectors of many dimensions lie on; a straight line where they are parallel.
    """
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=1, eps=1e-12)[:, None].clamp(-1.0, 1.0)
    angle = cosine.acos()
    sine = angle.sin()
    straight = sine < 1e-6
    sine = torch.where(straight, 1.0, sine)
    left = torch.where(straight, 1.0 - t, ((1.0 - t) * angle).sin() / sine)
    right = torch.where(straight, t, (t * angle).sin() / sine)
    return left * first + right * second


def path_steps(
    generator: Callable[[Tensor], Any], first: Tensor, second: Tensor, t: Tensor, epsilon: float = EPSILON
) -> np.ndarray:
    """Squared feature distance of small steps on paths, over the step's square; its mean is the path length.

    ``|F(z(t + e)) - F(z(t))|^2 / e^2`` for each path z from ``first`` (t = 0) to ``second`` (t = 1).

    Args:
        generator: F, from latents ``(n, d)`` to the features ``(n, k)`` of their samples.
        first: standard normal ``(n, d)``, n >= 1.
        second: the same.
        t: where on its path each step begins, ``(n, 1)`` in [0, 1].
        epsilon: e, > 0.

    Returns:
        ``(n,)``, >= 0, float64.

    Raises:
        MetricError: other shapes, a feature that is not finite, or ``epsilon`` <= 0.

    Source:
        Karras, Laine and Aila 2019, "A Style-Based Generator Architecture for Generative Adversarial
        Networks", equation 2 (there e = 1e-4 and LPIPS features).
    """
    if not 0.0 < epsilon < np.inf:
        raise MetricError(f"epsilon must be above 0 and finite, not {epsilon!r}")
    if first.shape != second.shape or first.dim() != 2 or t.shape != (len(first), 1):
        shapes = tuple(first.shape), tuple(second.shape), tuple(t.shape)
        raise MetricError(f"first and second must have one shape (n, d), and t (n, 1); they have {shapes}")
    # Angles in float64: at 1e-2 a step is small beside the rounding of a float32 arc cosine.
    ends = first.double(), second.double()
    here, there = (
        np.float64(
            features(generator(spherical_interpolation(*ends, t.double() + step).to(first.dtype)), "features", rows=1)
        )
        for step in (0.0, epsilon)
    )
    return np.square(there - here).sum(axis=1) / epsilon**2


class Smoothness(MeanMetric):
    """How much samples change in small steps through latent space, in features of unrounded samples (path length)."""

    name = "smoothness"
    label = "Path length"
    direction = "min"
    cost = "end"
    needs = frozenset({"variant"})
    constants = {"epsilon": EPSILON, "paths": PATHS, "path": "spherical"}
    floor = None
    requires = "a latent space"

    def values(self, evidence: Evidence) -> np.ndarray:
        """Steps ``(n,)`` of paths between the variant's own latents, of float images.

        What a latent carries behind its ``latent_dim`` numbers (a class) stays the first's along the path.
        """
        variant = evidence.variant
        if variant is None or variant.generate is None:
            raise NotApplicable("the variant has no latent space")
        device = device_of(variant)
        rng = torch.Generator(device).manual_seed(evidence.seed)
        first, second = variant.latent(PATHS, rng), variant.latent(PATHS, rng)
        t = torch.rand(PATHS, 1, generator=rng, device=device, dtype=torch.float64)
        size = variant.latent_dim or first.shape[1]

        def seen(kept: Tensor) -> Callable[[Tensor], np.ndarray]:
            return lambda z: extract(evidence, unquantised(variant.generate(torch.cat([z, kept], dim=1))))

        with torch.no_grad():
            parts = [
                path_steps(seen(a[:, size:]), a[:, :size], b[:, :size], place)
                for a, b, place in zip(*(rows.split(EXTRACTOR_BATCH) for rows in (first, second, t)), strict=True)
            ]
        return np.concatenate(parts)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [Smoothness()]
