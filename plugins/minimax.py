"""The saturating loss of the minimax game itself.

Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1: G descends log(1 - D(G(z))), whose
gradient vanishes where D is sure that a sample is fake (section 3): the starved generator. Step size, its decay and
momentum are what a search chose (results/tuning).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ganbench.plugin import Variant, hookimpl
from ganbench.toolkit import BackboneGAN, Decay, Momentum, StepSize


class Minimax(BackboneGAN):
    """GAN with the original minimax loss: G minimises exactly what D maximises, and learns little once D is sure."""

    name = "minimax"

    def __init__(
        self,
        shape: torch.Size,
        beta1: Momentum = 0.55,
        lr: StepSize = 1.2e-3,
        decay: Decay = 0.4,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, beta1=beta1, lr=lr, decay=decay, **hyperparameters)

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -functional.softplus(fake_logits).mean()  # E log(1 - D(G(z)))


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Minimax]
