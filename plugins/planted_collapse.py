"""Collapses on purpose: a GAN that converges (R1) and loses, at a known time, all it shows but one or two things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from ganbench_plugins.planted import Planted
from ganbench_plugins.r1 import R1
from torch import Tensor

from ganbench.plugin import Batch, Clock, Range, Variant, defaults, hookimpl


@defaults(gamma=1.0, lr=1e-3, beta1=0.0, decay=0.0)
class Steady(Planted, R1):
    """R1 with constant, small step sizes, so that a collapse has time to act until the end of the budget.

    Verdicts are calibrated on these settings, whatever the defaults of R1 are.
    """


class Collapse(Steady):
    """Fails on purpose: G stops using its latent but for a sign, so all samples are one or two. Verdict: collapsed."""

    name = "planted-collapse"
    points: int

    def __init__(
        self,
        shape: Any,
        points: Annotated[int, Range(1, 2), "different samples that are left"] = 1,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, points=points, **hyperparameters)

    def fake(self, z: Tensor) -> Batch:
        if not self.broken:
            return super().fake(z)
        blind = torch.zeros_like(z) if self.points == 1 else z[:, :1].sign().expand_as(z)
        return super().fake(blind)


class Classes(Steady):
    """Fails on purpose: sees only ``shown`` classes until ``until``, and forgets the others. Verdict: collapsed.

    With ``until`` below 1 the others come back, and the verdict need only be a failure.
    """

    name = "planted-classes"
    shown: int
    until: float

    def __init__(
        self,
        shape: Any,
        classes: int,
        shown: Annotated[int, Range(1, 1000), "classes that are left"] = 2,
        until: Annotated[float, Range(0.0, 1.0), "share of the budget after which all are seen again"] = 1.0,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, shown=shown, until=until, **hyperparameters)

    def fails(self, clock: Clock) -> bool:
        return self.at <= clock.fraction < self.until

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        if self.fails(clock) and batch.labels is not None:
            kept = (batch.labels < self.shown).nonzero().flatten()
            if len(kept):  # repeated to a batch of the usual size
                rows = kept.repeat(-(-len(batch.data) // len(kept)))[: len(batch.data)]
                batch = Batch(batch.data[rows], batch.labels[rows])
        return super().train_step(batch, clock)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Classes, Collapse]
