"""Projected GAN: D sees images only through a network that is never trained.

Sauer, Chitta, Mueller and Geiger 2021, "Projected GANs Converge Faster": discriminators D_l stand on features P_l(x) of
several depths, G plays against all of them (equation 4), with hinge losses (section 4;
the paper's differentiable augmentation is an option here). Random 1x1 convolutions mix the channels of each depth, and
depths with each other, where the paper has 3x3 ones and bilinear upsampling for the latter (section 3.2).

The paper's network is trained on ImageNet. Here its weights are random and orthogonal: a network trained on the data
would be near to the one that scores use, and G would learn to please the score; random features share nothing with it.
Wherever a score's own network is used instead, FID and IS are circular and say little.

Step size, its decay and momentum are what a search chose (results/tuning); the paper takes 2e-4 and beta1 = 0.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganbench.plugin import Batch, Variant, defaults, hookimpl
from ganbench.toolkit import (
    Augment,
    Augmentation,
    BackboneGAN,
    hinge_discriminator_loss,
    hinge_generator_loss,
    orthogonal_init,
    pyramid,
    require_image,
    spectrally_normalised,
)


class RandomFeatures(nn.Module):
    """P: features of an image at each depth of a frozen random network, from the finest: a list of ``(n, c, h, w)``."""

    def __init__(self, shape: torch.Size, width: int) -> None:
        super().__init__()
        shapes = pyramid(shape, width)[::-1]
        wide = [channels for channels, *_ in shapes]
        self.enter = nn.Conv2d(shape[0], wide[0], 3, padding=1)
        self.deeper = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(wide))
        self.mix = nn.ModuleList(nn.Conv2d(c, c, 1) for c in wide)  # of channels
        self.join = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(wide))  # of depths
        self.channels = wide
        orthogonal_init(self)
        with torch.no_grad():
            for layer in (self.enter, *self.deeper):
                layer.weight *= 2**0.5  # what leaky ReLU takes of the variance
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [functional.leaky_relu(self.enter(x), 0.2)]
        for layer in self.deeper:
            features.append(functional.leaky_relu(layer(features[-1]), 0.2))
        mixed = [mix(f) for mix, f in zip(self.mix, features, strict=True)]
        for i in range(len(self.join) - 1, -1, -1):
            mixed[i] = mixed[i] + functional.interpolate(self.join[i](mixed[i + 1]), scale_factor=2.0)
        return mixed


class ProjectedDiscriminator(nn.Module):
    """Images to logits, one for each depth of the frozen network: ``(n, *shape) -> (n, depths)``."""

    def __init__(self, shape: torch.Size, width: int, augment: Augmentation) -> None:
        super().__init__()
        self.augment = Augment(augment)
        self.features = RandomFeatures(shape, width)
        self.judges = nn.ModuleList(self._judge(channels, width) for channels in self.features.channels)

    @staticmethod
    def _judge(channels: int, width: int) -> nn.Module:
        """D_l: logits of places, averaged."""
        layers = [nn.Conv2d(channels, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.LeakyReLU(0.2)]
        return spectrally_normalised(
            nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(self.augment(x))
        return torch.cat([judge(f) for judge, f in zip(self.judges, features, strict=True)], 1)


@defaults(lr=1.7e-3, beta1=0.21, decay=0.21)
class Projected(BackboneGAN):
    """GAN whose D judges random features of an image, of several depths, instead of its pixels."""

    name = "projected"
    discriminator: ProjectedDiscriminator
    augment: Augmentation

    def __init__(
        self,
        shape: torch.Size,
        augment: Annotated[Augmentation, "random changes to all images that D sees"] = "none",
        **hyperparameters: Any,
    ) -> None:
        require_image(self.name, shape)
        super().__init__(shape, augment=augment, **hyperparameters)

    def build_discriminator(self) -> nn.Module:
        return ProjectedDiscriminator(self.shape, self.channels, self.augment)

    def judge(self, batch: Batch) -> Tensor:
        return self.discriminator(batch.data).sum(1)

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        real_logits, fake_logits = self.discriminator(real.data), self.discriminator(fake.data)
        self.discriminator.augment.observe(real_logits)
        depths = real_logits.shape[1]  # the sum over depths of means over the batch
        return depths * hinge_discriminator_loss(real_logits, fake_logits)

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        logits = self.discriminator(fake.data)
        return logits.shape[1] * hinge_generator_loss(logits)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Projected]
