"""Failures on purpose: GANs that break in a known way at a known time, to try verdicts and reports on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from ganbench_plugins.vanilla import Vanilla
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from ganbench.plugin import Batch, Clock, Range, Variant, defaults, hookimpl

# Verdicts are calibrated on these settings, whatever the defaults of vanilla are.
CALIBRATED = defaults(lr=1e-3, beta1=0.5)


class Planted:
    """Mixed in before a GAN: breaks at the first step whose ``clock.fraction`` is at least ``at``.

    Attributes:
        broken: whether it has happened.
    """

    role = "planted"
    at: float

    def __init__(
        self,
        shape: Any,
        at: Annotated[float, Range(0.0, 1.0), "share of the budget after which it fails"] = 0.5,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, at=at, **hyperparameters)  # type: ignore[call-arg]
        self.broken = False

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        self.broken = self.fails(clock)
        return super().train_step(batch, clock)  # type: ignore[misc]

    def fails(self, clock: Clock) -> bool:
        return clock.fraction >= self.at


@CALIBRATED
class NaN(Planted, Vanilla):
    """Fails on purpose: G's loss becomes NaN. Verdict: diverged, at that very step."""

    name = "planted-nan"

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        loss = super().generator_loss(fake_logits)
        return loss * math.nan if self.broken else loss


@CALIBRATED
class BlowUp(Planted, Vanilla):
    """Fails on purpose: a network's weights grow by ``growth`` a step, 20-fold in 151 steps. Verdict: diverged."""

    name = "planted-blowup"
    growth: float
    network: str

    def __init__(
        self,
        shape: Any,
        growth: Annotated[float, Range(1.0, 2.0), "factor on every weight at each step"] = 1.02,
        network: Annotated[Literal["generator", "discriminator"], "whose weights"] = "generator",
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, growth=growth, network=network, **hyperparameters)

    def settle(self, clock: Clock) -> None:
        if self.broken:
            for parameter in getattr(self, self.network).parameters():
                parameter.mul_(self.growth)


@defaults(beta1=0.5)
class Dominated(Vanilla):
    """Fails on purpose: D learns ``ratio`` times as fast as G, whose loss is flat once D won. Verdict: dominated."""

    name = "planted-dominated"
    role = "planted"
    ratio: float

    def __init__(
        self,
        shape: Any,
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


@defaults(beta1=0.5)
class Unconstrained(Vanilla):
    """Fails on purpose: a Wasserstein critic without a constraint, whose scores and gradients grow without bound.

    Verdict: a failure, of one kind or another.
    """

    name = "planted-unconstrained"
    role = "planted"
    decision_threshold = None

    def __init__(
        self,
        shape: Any,
        critic_steps: Annotated[int, Range(1, 10), "critic updates for one of the generator"] = 5,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 3e-3,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, critic_steps=critic_steps, lr=lr, **hyperparameters)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits.mean() - real_logits.mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [BlowUp, Dominated, NaN, Unconstrained]
