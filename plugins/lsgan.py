"""Least squares GAN.

Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 9: the labels a = 0 for fake
and b = c = 1 for real, each loss half a squared distance to them. Step size, its decay and momentum are what a search
chose (results/tuning); the paper takes 2e-4 (1e-3 for scenes) and beta1 = 0.5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganbench.plugin import Variant, hookimpl
from ganbench.toolkit import BackboneGAN, Decay, Momentum, StepSize


class LSGAN(BackboneGAN):
    """GAN with squared errors in place of cross-entropies, so that samples far from the boundary still count."""

    name = "lsgan"
    decision_threshold = 0.5

    def __init__(
        self,
        shape: torch.Size,
        beta1: Momentum = 0.9,
        lr: StepSize = 1.1e-3,
        decay: Decay = 0.6,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, beta1=beta1, lr=lr, decay=decay, **hyperparameters)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return ((real_logits - 1).square() + fake_logits.square()).mean() / 2

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return (fake_logits - 1).square().mean() / 2


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [LSGAN]
