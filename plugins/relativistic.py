"""Relativistic GAN.

Jolicoeur-Martineau 2018, "The relativistic discriminator: a key element missing from standard GAN", section
4.1 (RSGAN): D says how much more real a real sample is than a generated one, and G is its mirror image.
Step size, its decay and momentum are what a search chose (results/tuning); the paper takes 2e-4 and beta1 = 0.5 on
CIFAR-10 (section 4.1).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ganbench.plugin import Batch, Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN


@defaults(lr=2.1e-3, beta1=0.16, decay=0.56)
class Relativistic(BackboneGAN):
    """GAN whose D says which of two samples is the more real one, instead of whether one sample is real.

    Only differences between logits count, so that no logit by itself means "real".
    """

    name = "relativistic"
    decision_threshold = None

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return functional.softplus(fake_logits - real_logits).mean()

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        return functional.softplus(self.judge(real) - self.judge(fake)).mean()


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Relativistic]
