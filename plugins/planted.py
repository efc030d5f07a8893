"""Failures on purpose: vanilla GANs that break in a known way at a known time, to try verdicts and reports on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from ganbench_plugins.vanilla import Vanilla
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from ganbench.plugin import Batch, Clock, Range, Variant, hookimpl


class Planted(Vanilla):
    """Breaks at the first step whose ``clock.fraction`` is at least ``at``.

    Attributes:
        broken: whether it has happened.
    """

    role = "planted"
    at: float

    def __init__(
        self,
        shape: torch.Size,
        at: Annotated[float, Range(0.0, 1.0), "share of the budget after which it fails"] = 0.5,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, at=at, **hyperparameters)
        self.broken = False

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        self.broken = clock.fraction >= self.at
        return super().train_step(batch, clock)


class Collapse(Planted):
    """G is blind to its latent from then on: all its samples are one. Verdict: collapsed."""

    name = "planted-collapse"

    def fake(self, z: Tensor) -> Batch:
        return super().fake(torch.zeros_like(z) if self.broken else z)


class NaN(Planted):
    """G's loss is not a number from then on. Verdict: diverged, at that very step."""

    name = "planted-nan"

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        loss = super().generator_loss(fake_logits)
        return loss * math.nan if self.broken else loss


class BlowUp(Planted):
    """G's weights grow by ``growth`` a step from then on: 20-fold after 151 steps of 1.02. Verdict: diverged."""

    name = "planted-blowup"
    growth: float

    def __init__(
        self,
        shape: torch.Size,
        growth: Annotated[float, Range(1.0, 2.0), "factor on every weight at each step"] = 1.02,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, growth=growth, **hyperparameters)

    def settle(self, clock: Clock) -> None:
        if self.broken:
            for parameter in self.generator.parameters():
                parameter.mul_(self.growth)


class Dominated(Vanilla):
    """D learns ``ratio`` times as fast as G, whose loss saturates once D has won. Verdict: dominated."""

    name = "planted-dominated"
    role = "planted"
    ratio: float

    def __init__(
        self,
        shape: torch.Size,
        ratio: Annotated[float, Range(1.0, 1000.0, log=True), "D's step size over G's"] = 100.0,
        # Low enough that D wins without blowing up itself.
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size of G"] = 2e-5,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, ratio=ratio, lr=lr, **hyperparameters)

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        lr = self.lr * (self.ratio if network is self.discriminator else 1.0)
        return Adam(network.parameters(), lr=lr, betas=(self.beta1, 0.999), fused=True)

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -functional.softplus(fake_logits).mean()  # E log(1 - D(G(z))), the minimax loss itself


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [BlowUp, Collapse, Dominated, NaN]
