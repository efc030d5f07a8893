"""PacGAN: D sees several samples at once.

Lin et al. 2018, "PacGAN: The power of two samples in generative adversarial networks", section 3: m samples
stacked along the channels get one logit, so that a pack without variety gives itself away. On rings the paper
takes a step size of 1e-4 and beta1 = 0.8; the defaults here are what a search chose at a budget of minutes
(results/tuning).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ganbench.plugin import Batch, Range, Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN


@defaults(lr=2.6e-3, beta1=0.17, decay=0.92)
class PacGAN(BackboneGAN):
    """GAN whose D judges several samples at once, so that a lack of variety gives G away.

    Packs of m: rows i, i + 1, ... of a batch, cyclically, so that each row leads one pack.
    """

    name = "pacgan"
    pack: int

    def __init__(
        self,
        shape: torch.Size,
        pack: Annotated[int, Range(2, 8), "m: samples that D sees at once"] = 2,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, pack=pack, **hyperparameters)

    def build_discriminator(self) -> nn.Module:
        first, *rest = self.shape
        return self.discriminator_on(torch.Size((first * self.pack, *rest)))

    def judge(self, batch: Batch) -> Tensor:
        x, network = batch.data, self.discriminator
        if self.augment != "none":  # each sample is changed by itself, before it is packed
            x, network = network[0](x), network[1]  # type: ignore[index]
        packs = torch.cat([x.roll(-i, 0) for i in range(self.pack)], 1)
        return network(packs).flatten()


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [PacGAN]
