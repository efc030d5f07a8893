"""Deep convolutional GAN.

Radford, Metz and Chintala 2015, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", section 3: strided convolutions in D and fractionally strided ones in G, batch
normalisation in both (not at G's output or D's input), ReLU in G with tanh at its output, leaky ReLU in
D, weights of convolutions from N(0, 0.02^2), Adam. The paper takes a step size of 2e-4 and beta1 = 0.5; the defaults
here are what a search chose at a budget of minutes (results/tuning).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from ganbench.plugin import GAN, Range, Variant, defaults, hookimpl
from ganbench.toolkit import convolutional_discriminator, convolutional_generator, require_image, usual_width


@defaults(beta1=0.099)
class DCGAN(GAN):
    """GAN whose G and D are convolutional networks: G doubles the resolution layer by layer, D halves it."""

    name = "dcgan"
    width: int | None

    def __init__(
        self,
        shape: torch.Size,
        width: Annotated[
            int | None, Range(8, 256, log=True), "channels next to the image: 32 or, above 16 pixels, 16"
        ] = None,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 5.3e-3,
        **hyperparameters: Any,
    ) -> None:
        require_image(self.name, shape)
        super().__init__(shape, width=width, lr=lr, **hyperparameters)

    def build_generator(self) -> nn.Module:
        return convolutional_generator(self.shape, self.latent_dim, usual_width(self.shape, self.width))

    def build_discriminator(self) -> nn.Module:
        return convolutional_discriminator(self.shape, usual_width(self.shape, self.width), batch_norm=True)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [DCGAN]
