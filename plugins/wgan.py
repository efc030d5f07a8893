"""Wasserstein GAN with clipped weights.

Arjovsky, Chintala and Bottou 2017, "Wasserstein Generative Adversarial Networks", Algorithm 1: a critic f
without a sigmoid, n_critic updates of it for one of G, its weights clipped to [-c, c], RMSProp. The paper's
c = 0.01, n_critic = 5 and step size 5e-5 are too slow for budgets of a minute: c and the step size here are what a
search chose at such budgets (results/tuning), n_critic was set by hand.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from ganbench.plugin import Clock, Range, Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN


@defaults(decay=0.95)
class WGAN(BackboneGAN):
    """GAN whose critic estimates how far generated samples are from real ones (Wasserstein distance).

    G shortens that distance. The estimate holds up to a factor, and only while the weights of the critic are clipped.
    """

    name = "wgan"
    decision_threshold = None
    clip: float

    def __init__(
        self,
        shape: torch.Size,
        clip: Annotated[float, Range(1e-3, 1.0, log=True), "c: bound of every weight of the critic"] = 0.08,
        critic_steps: Annotated[int, Range(1, 10), "critic updates for one of the generator"] = 2,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "RMSProp step size"] = 4e-3,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, clip=clip, critic_steps=critic_steps, lr=lr, **hyperparameters)

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        return RMSprop(network.parameters(), lr=self.lr)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits.mean() - real_logits.mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()

    def settle(self, clock: Clock) -> None:
        super().settle(clock)
        for w in self.discriminator.parameters():
            w.clamp_(-self.clip, self.clip)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [WGAN]
