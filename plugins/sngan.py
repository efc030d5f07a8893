"""Spectrally normalised GAN.

Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks": every layer of D divided
by its largest singular value (section 2.1), the hinge loss (equations 16 and 17). On residual networks
the paper takes a step size of 2e-4, beta1 = 0 and five updates of D for one of G. The step size and its decay were set
by hand for budgets of minutes, and a search kept them (results/tuning).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ganbench.plugin import Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN, spectrally_normalised


@defaults(beta1=0.0)
class SNGAN(BackboneGAN):
    """GAN whose D cannot change sharply: each layer's weights are divided by their largest singular value."""

    name = "sngan"

    def build_discriminator(self) -> nn.Module:
        return spectrally_normalised(self.discriminator_on(self.shape))

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return functional.relu(1 - real_logits).mean() + functional.relu(1 + fake_logits).mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [SNGAN]
