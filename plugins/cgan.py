"""Conditional GAN: P(x given y).

Mirza and Osindero 2014, "Conditional Generative Adversarial Nets", equation 2: G is given the class y
beside z, D judges x together with y. The paper's networks are others, trained by SGD with a step size that falls from
0.1; Adam's step size, its decay and momentum here are what a search chose (results/tuning).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ganbench.plugin import Batch, Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN


@defaults(lr=3e-3, beta1=0.044, decay=0.35)
class CGAN(BackboneGAN):
    """GAN that is told the class: G draws a sample of a given class, D judges whether it is a real one of that class.

    The latent carries the class y as a one-hot vector; D has one logit for each y.
    """

    name = "cgan"

    classes: int

    def __init__(self, shape: torch.Size, classes: int, **hyperparameters: Any) -> None:
        super().__init__(shape, classes=classes, **hyperparameters)

    def build_generator(self) -> nn.Module:
        return self.generator_on(self.latent_dim + self.classes)

    def build_discriminator(self) -> nn.Module:
        return self.discriminator_on(self.shape, outputs=self.classes)

    def latent(self, n: int, rng: Generator | None = None) -> Tensor:
        z = super().latent(n, rng)
        y = torch.randint(self.classes, (n,), generator=rng, device=z.device)
        return torch.cat([z, functional.one_hot(y, self.classes)], 1)

    def fake(self, z: Tensor) -> Batch:
        return Batch(self.generator(z), z[:, self.latent_dim :].argmax(1))

    def judge(self, batch: Batch) -> Tensor:
        logits = self.discriminator(batch.data)
        if batch.labels is None:  # is it real under any y
            return logits.logsumexp(1)
        return logits.gather(1, batch.labels[:, None]).flatten()


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [CGAN]
