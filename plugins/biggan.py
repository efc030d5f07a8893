"""BigGAN, at a size that a laptop trains.

Brock, Donahue and Simonyan 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis": residual
networks, class-conditional batch normalisation from one shared embedding and the latent (sections 3 and 3.1, appendix
B), spectral normalisation in both networks, orthogonal initialisation, an averaged generator, truncated latents (3.1).
D is the projection discriminator of Miyato and Koyama 2018 (equation 4) with hinge losses; self-attention is that of
Zhang et al. 2019.

The paper trains D twice for each step of G; at a budget of real images that halves G's steps, so here it is once. Its
step sizes are 5e-5 for G and 2e-4 for D, for batches of 2,048; those here and their decay were set by hand for budgets
of minutes, and a search kept them (results/tuning).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ganbench.plugin import Batch, Variant, hookimpl
from ganbench.toolkit import (
    ConditionalGAN,
    ProjectionHead,
    spectrally_normalised,
)


class BigGAN(ConditionalGAN):
    """Class-conditional GAN whose D compares an image's features with an embedding of the class that it should show."""

    name = "biggan"
    decision_threshold = 0.0

    def __init__(
        self,
        shape: torch.Size,
        classes: int,
        attention: Annotated[bool, "self-attention in both networks; images only"] = True,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, classes, attention=attention, **hyperparameters)

    def build_generator(self) -> nn.Module:
        return spectrally_normalised(super().build_generator())

    def build_head(self, features: int) -> nn.Module:
        return ProjectionHead(features, self.classes)

    def judge(self, batch: Batch) -> Tensor:
        logits = self.discriminator(batch.data)
        if batch.labels is None:  # is it real under any class
            return logits.logsumexp(1)
        return logits.gather(1, batch.labels[:, None]).flatten()


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [BigGAN]
