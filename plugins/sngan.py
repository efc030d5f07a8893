"""Spectrally normalised GAN.

Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks": every layer of D divided
by its largest singular value (section 2.1), the hinge loss (equations 16 and 17).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganbench.plugin import Variant, hookimpl
from ganbench.toolkit import BackboneGAN, Momentum, spectrally_normalised


class SNGAN(BackboneGAN):
    """GAN whose D cannot change sharply: each layer's weights are divided by their largest singular value."""

    name = "sngan"

    def __init__(
        self,
        shape: torch.Size,
        beta1: Momentum = 0.0,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, beta1=beta1, **hyperparameters)

    def build_discriminator(self) -> nn.Module:
        return spectrally_normalised(self.discriminator_on(self.shape))

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return functional.relu(1 - real_logits).mean() + functional.relu(1 + fake_logits).mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [SNGAN]
