"""Auxiliary classifier GAN.

Odena, Olah and Shlens 2017, "Conditional Image Synthesis With Auxiliary Classifier GANs": D says whether an image is
real, and which class it shows. Both networks raise the log-likelihood of the right class, L_C (equation 3), beside the
game about the source, L_S (equation 2). The paper takes a step size of 2e-4 and beta1 = 0.5; the defaults here were set
by hand, and a search kept them (results/tuning).

G is rewarded for images that are easy to classify, whether they are typical or not: variety within a class suffers.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganbench.plugin import Batch, Range, Variant, hookimpl
from ganbench.toolkit import ConditionalGAN, logistic_discriminator_loss, logistic_generator_loss


class ACGAN(ConditionalGAN):
    """Class-conditional GAN whose D is a classifier too, and whose G is to please both."""

    name = "acgan"
    weight: float

    def __init__(
        self,
        shape: torch.Size,
        classes: int,
        weight: Annotated[float, Range(0.01, 10.0, log=True), "weight of the classifier's loss L_C"] = 1.0,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, classes, weight=weight, **hyperparameters)

    def build_head(self, features: int) -> nn.Module:
        return nn.Linear(features, 1 + self.classes)  # the source, and the class

    def judge(self, batch: Batch) -> Tensor:
        return self.discriminator(batch.data)[:, 0]

    def likelihood(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits of the source ``(n,)``, and minus the log-likelihood of the right class, averaged: ``-L_C``."""
        outputs = self.discriminator(batch.data)
        assert batch.labels is not None
        return outputs[:, 0], functional.cross_entropy(outputs[:, 1:], batch.labels)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        self.discriminator[0].observe(real_logits)
        return logistic_discriminator_loss(real_logits, fake_logits)

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return logistic_generator_loss(fake_logits)

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        (real_logits, real_class), (fake_logits, fake_class) = self.likelihood(real), self.likelihood(fake)
        return self.discriminator_loss(real_logits, fake_logits) + self.weight * (real_class + fake_class)

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        logits, wrong_class = self.likelihood(fake)
        return self.generator_loss(logits) + self.weight * wrong_class


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [ACGAN]
