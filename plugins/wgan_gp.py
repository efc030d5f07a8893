"""Wasserstein GAN with gradient penalty.

Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", Algorithm 1: the critic's gradient is drawn towards
norm 1 at points between real and generated samples. The paper takes lambda = 10, n_critic = 5, beta1 = 0 and step sizes
of 1e-4. n_critic = 5 leaves G too few updates in budgets of a minute, where every batch counts; the other defaults here
are what a search chose at such budgets (results/tuning).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from ganbench.plugin import Batch, Range, Variant, defaults, hookimpl
from ganbench.toolkit import (
    BackboneGAN,
    wasserstein_discriminator_loss,
    wasserstein_generator_loss,
    wgan_gp_penalty,
)


@defaults(lr=3.5e-3, beta1=0.6, decay=0.03)
class WGANGP(BackboneGAN):
    """Wasserstein GAN whose critic is kept in bounds by a penalty on its gradient instead of clipped weights."""

    name = "wgan-gp"
    decision_threshold = None
    penalty: float

    def __init__(
        self,
        shape: torch.Size,
        penalty: Annotated[float, Range(0.01, 100.0, log=True), "lambda: weight of the penalty"] = 0.2,
        critic_steps: Annotated[int, Range(1, 10), "critic updates for one of the generator"] = 2,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, penalty=penalty, critic_steps=critic_steps, **hyperparameters)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return wasserstein_discriminator_loss(real_logits, fake_logits)

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return wasserstein_generator_loss(fake_logits)

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        penalty = wgan_gp_penalty(lambda x: self.judge(Batch(x)), real.data, fake.data)
        return super().discriminator_phase(real, fake) + self.penalty * penalty


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [WGANGP]
