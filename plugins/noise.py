"""The baseline that learns nothing: uniform pixels, or a standard normal cloud of points."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from ganbench.plugin import Batch, Clock, Variant, hookimpl


class Noise(Variant):
    """Baseline that learns nothing: images of uniform noise, points from a standard normal distribution."""

    name = "noise"
    role = "baseline"

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        return {}

    def sample(self, n: int, rng: Generator | None = None) -> Tensor:
        size, device = (n, *self.shape), rng.device if rng else "cpu"
        if len(self.shape) == 3:
            return torch.rand(size, generator=rng, device=device) * 2 - 1
        return torch.randn(size, generator=rng, device=device)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Noise]
