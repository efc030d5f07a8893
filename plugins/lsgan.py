"""Least squares GAN.

Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 9: the labels a = 0 for fake
and b = c = 1 for real, each loss half a squared distance to them. Step size, its decay and momentum are what a search
chose (results/tuning); the paper takes 2e-4 (1e-3 for scenes) and beta1 = 0.5.
"""

from __future__ import annotations

from torch import Tensor

from ganbench.plugin import Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN


@defaults(lr=1.3e-3, beta1=0.65, decay=0.22)
class LSGAN(BackboneGAN):
    """GAN with squared errors in place of cross-entropies, so that samples far from the boundary still count."""

    name = "lsgan"
    decision_threshold = 0.5

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return ((real_logits - 1).square() + fake_logits.square()).mean() / 2

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return (fake_logits - 1).square().mean() / 2


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [LSGAN]
