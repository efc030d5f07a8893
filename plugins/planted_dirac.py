"""The Dirac-GAN, the smallest game in which two players chase each other.

Mescheder, Geiger and Nowozin 2018, "Which Training Methods for GANs do actually Converge?", definition 2.1: G is one
point theta, D one linear function psi, and the data are a point at the origin. Here the data are points with mean
zero (ring8) and G is a circle around theta; D still sees nothing but the two means, so that it is the same game.
With the linear loss and steps of h, simultaneous updates multiply the distance from the equilibrium by
sqrt(1 + h^2) a step (section 2.2), alternating ones circle around it, and R1 (section 4.1) leads there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer

from ganbench.plugin import GAN, Batch, Clock, Range, Unsuitable, Variant, hookimpl
from ganbench.toolkit import squared_gradient


class Circle(nn.Module):
    """Generator of points on a circle of radius 1 around theta, its only parameter.

    z to ``theta + z / |z|``: ``(n, 2)``; theta starts at (1, 0).
    """

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta + functional.normalize(z, dim=1)


class Dirac(GAN):
    """Fails on purpose: two players that chase each other in circles. Verdict: a failure; with a penalty, stable."""

    name = "planted-dirac"
    role = "planted"
    decision_threshold = None
    updates: str
    gamma: float

    def __init__(
        self,
        shape: torch.Size,
        updates: Annotated[Literal["alternating", "simultaneous"], "who moves when"] = "alternating",
        gamma: Annotated[float, Range(0.0, 10.0), "weight of R1's penalty"] = 0.0,
        lr: Annotated[float, Range(1e-3, 1.0, log=True), "h: step size of plain gradient descent"] = 0.1,
        latent_dim: Annotated[int, Range(2, 2), "dimension of the latent space"] = 2,
        **hyperparameters: Any,
    ) -> None:
        if tuple(shape) != (2,):
            raise Unsuitable("planted-dirac is a game of points in the plane")
        super().__init__(shape, updates=updates, gamma=gamma, lr=lr, latent_dim=latent_dim, **hyperparameters)

    def build_generator(self) -> nn.Module:
        return Circle()

    def build_discriminator(self) -> nn.Module:
        psi = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(psi.weight)
        return psi

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        return SGD(network.parameters(), lr=self.lr)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits.mean() - real_logits.mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        penalty = squared_gradient(lambda x: self.judge(Batch(x)), real.data).mean() if self.gamma else 0.0
        return super().discriminator_phase(real, fake) + self.gamma / 2 * penalty

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        if self.updates == "alternating":
            return super().train_step(batch, clock)
        fake = self.fake(self.latent(len(batch.data)))
        losses = {
            "discriminator": self.discriminator_phase(batch, Batch(fake.data.detach())),
            "generator": self.generator_phase(batch, fake),
        }
        # Both gradients belong to the players as they were before either moved.
        for role, loss in losses.items():
            parameters = list(getattr(self, role).parameters())
            for parameter, gradient in zip(
                parameters, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True
            ):
                parameter.grad = gradient
        for role in losses:
            self.optimizers[role].step()
        return losses


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Dirac]
