"""A GAN with ready-made networks, for variants that only change a loss."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from ganbench.plugin.hyperparameters import Range
from ganbench.plugin.variant import Clock
from ganbench.toolkit.augmentation import AugmentedGAN
from ganbench.toolkit.networks import (
    convolutional_discriminator,
    convolutional_generator,
    is_image,
    multilayer_perceptron,
    require_image,
    size_of,
    usual_width,
)

Width = Annotated[
    int | None,
    Range(8, 256, log=True),
    "channels next to an image, 32, above 16 pixels 16; points: a quarter of a layer, 32",
]
StepSize = Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"]


class BackboneGAN(AugmentedGAN):
    """A non-saturating GAN with convolutional networks for images and perceptrons for points.

    Subclasses that change a loss differ in nothing else.

    Images: the convolutions of DCGAN, with batch normalisation in G only, so that each of D's logits
    depends on one image. Points: multilayer perceptrons with two hidden layers.
    """

    width: int | None
    decay: float

    def __init__(
        self,
        shape: torch.Size,
        width: Width = None,
        lr: StepSize = 1e-3,
        decay: Annotated[float, Range(0.0, 1.0), "last share of the budget, in which step sizes fall to 0"] = 0.5,
        **hyperparameters: Any,
    ) -> None:
        if is_image(shape):
            require_image(self.name, shape)
        super().__init__(shape, width=width, lr=lr, decay=decay, **hyperparameters)

    @property
    def channels(self) -> int:
        """Channels of the layer next to an image; for points, a quarter of the units of a layer."""
        return usual_width(self.shape, self.width)

    def build_generator(self) -> nn.Module:
        return self.generator_on(self.latent_dim)

    def build_discriminator(self) -> nn.Module:
        return self.discriminator_on(self.shape)

    def generator_on(self, latent_dim: int) -> nn.Sequential:
        """A generator network for another ``latent_dim``, such as a latent with a class appended."""
        if is_image(self.shape):
            return convolutional_generator(self.shape, latent_dim, self.channels)
        return multilayer_perceptron(latent_dim, [4 * self.channels] * 2, size_of(self.shape))

    def discriminator_on(self, shape: torch.Size, outputs: int = 1) -> nn.Sequential:
        """A discriminator network for another input shape or number of outputs: ``(n, *shape)`` to ``(n, outputs)``."""
        if is_image(shape):
            return convolutional_discriminator(shape, self.channels, outputs)
        return multilayer_perceptron(size_of(shape), [4 * self.channels] * 2, outputs)

    def settle(self, clock: Clock) -> None:
        """Lower the learning rates linearly to 0 at the end: otherwise G circles around a narrow mode, never on it."""
        super().settle(clock)
        if clock.fraction > 1 - self.decay:
            for optimizer in self.optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = self.lr * (1 - clock.fraction) / self.decay
