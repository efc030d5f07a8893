"""The saturating loss of the minimax game itself.

Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1: G descends log(1 - D(G(z))), whose
gradient vanishes where D is sure that a sample is fake (section 3): the starved generator. Step size, its decay and
momentum were set by hand, and a search kept them (results/tuning).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ganbench.plugin import Variant, hookimpl
from ganbench.toolkit import BackboneGAN


class Minimax(BackboneGAN):
    """GAN with the original minimax loss: G minimises exactly what D maximises, and learns little once D is sure."""

    name = "minimax"

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -functional.softplus(fake_logits).mean()  # E log(1 - D(G(z)))


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Minimax]
