"""Deep convolutional GAN.

Radford, Metz and Chintala 2015, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", section 3: strided convolutions in D and fractionally strided ones in G, batch
normalisation in both (not at G's output or D's input), ReLU in G with tanh at its output, leaky ReLU in
D, weights from N(0, 0.02^2), Adam with beta1 = 0.5.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from ganbench.plugin import GAN, Range, Variant, hookimpl
from ganbench.toolkit import Reshape, halvings, normal_init, require_image, size_of


class DCGAN(GAN):
    """Convolutional G and D; each halving of the image doubles the channels."""

    name = "dcgan"
    width: int

    def __init__(
        self,
        shape: torch.Size,
        width: Annotated[int, Range(8, 256, log=True), "channels next to the image"] = 32,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 1e-3,
        **hyperparameters: Any,
    ) -> None:
        require_image(self.name, shape)
        super().__init__(shape, width=width, lr=lr, **hyperparameters)

    def build_generator(self) -> nn.Module:
        n, (channels, height, width) = halvings(self.shape), self.shape
        wide = self.width * 2 ** (n - 1)
        base = (wide, height // 2**n, width // 2**n)
        layers: list[nn.Module] = [
            nn.Linear(self.latent_dim, size_of(base), bias=False),
            Reshape(base),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
        ]
        for _ in range(n - 1):
            layers += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(wide // 2), nn.ReLU()]
            wide //= 2
        g = nn.Sequential(*layers, nn.ConvTranspose2d(wide, channels, 4, 2, 1), nn.Tanh())
        normal_init(g)
        return g.to(memory_format=torch.channels_last)  # faster convolutions, the same network

    def build_discriminator(self) -> nn.Module:
        (channels, height, width), wide = self.shape, self.width
        layers: list[nn.Module] = [nn.Conv2d(channels, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
        # One strided convolution alone sees too little of an 8x8 image: at least two.
        n = max(2, halvings(self.shape))
        for _ in range(n - 1):
            layers += [nn.Conv2d(wide, wide * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(wide * 2), nn.LeakyReLU(0.2)]
            wide *= 2
        d = nn.Sequential(*layers, nn.Flatten(), nn.Linear(wide * (height // 2**n) * (width // 2**n), 1))
        normal_init(d)
        return d.to(memory_format=torch.channels_last)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [DCGAN]
