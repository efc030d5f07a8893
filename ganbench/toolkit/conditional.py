"""A class-conditional GAN with ready-made networks, for variants that differ in how D learns about the class."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ganbench.plugin.gan import GAN
from ganbench.plugin.hyperparameters import Range
from ganbench.plugin.variant import Batch, Clock, device_of
from ganbench.toolkit.augmentation import Augment, Augmentation
from ganbench.toolkit.averaging import frozen_copy, move_average, warm_decay
from ganbench.toolkit.losses import hinge_discriminator_loss, hinge_generator_loss
from ganbench.toolkit.networks import is_image, multilayer_perceptron, require_image, size_of
from ganbench.toolkit.residual import ResidualFeatures, ResidualGenerator, orthogonal_init
from ganbench.toolkit.schedules import scheduled, set_step_size
from ganbench.toolkit.spectral import spectrally_normalised


class ClassGenerator(nn.Module):
    """A generator that is told the class: ``(n, latent_dim)`` and class numbers ``(n,)`` to samples ``(n, *shape)``.

    One embedding of the classes is shared by all layers (Brock et al. 2019, section 3.1).
    """

    def __init__(self, shape: torch.Size, latent_dim: int, classes: int, width: int, attention: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent_dim)
        self.network: nn.Module
        self.draws_images = is_image(shape)
        if self.draws_images:
            self.network = ResidualGenerator(shape, latent_dim, latent_dim, width, attention)
        else:
            self.network = multilayer_perceptron(2 * latent_dim, [8 * width] * 2, size_of(shape))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        c = self.embedding(y)
        return self.network(z, c) if self.draws_images else self.network(torch.cat([z, c], 1))


class ConditionalGAN(GAN):
    """A class-conditional GAN on residual networks for images, and on perceptrons for points.

    G has class-conditional batch normalisation and an averaged copy that is scored; D is spectrally normalised and ends
    in a head that subclasses build in ``build_head`` and read in ``judge``. Hinge losses.

    A latent carries its class as a one-hot vector behind ``latent_dim`` normal numbers.
    """

    discriminator: Any  # an Augment, and what follows
    classes: int
    width: int
    attention: bool
    truncation: float
    ema_decay: float
    decay: float
    augment: Augmentation

    def __init__(
        self,
        shape: torch.Size,
        classes: int,
        width: Annotated[int, Range(8, 128, log=True), "channels next to an image; points: an eighth of a layer"] = 16,
        attention: Annotated[bool, "self-attention in both networks; images only"] = False,
        truncation: Annotated[float, Range(0.0, 2.0), "samples have no |z| above it; 0 is no limit"] = 0.0,
        ema_decay: Annotated[float, Range(0.0, 0.9999), "decay of the generator's average, a step"] = 0.99,
        augment: Annotated[Augmentation, "random changes to all images that D sees"] = "none",
        decay: Annotated[float, Range(0.0, 1.0), "last share of the budget, in which step sizes fall to 0"] = 0.5,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 2e-3,
        beta1: Annotated[float, Range(0.0, 0.95), "Adam decay of the mean gradient"] = 0.0,
        **hyperparameters: Any,
    ) -> None:
        if is_image(shape):
            require_image(self.name, shape)
        super().__init__(
            shape,
            classes=classes,
            width=width,
            attention=attention,
            truncation=truncation,
            ema_decay=ema_decay,
            augment=augment,
            decay=decay,
            lr=lr,
            beta1=beta1,
            **hyperparameters,
        )
        self.average = frozen_copy(self.generator)

    def build_generator(self) -> nn.Module:
        g = ClassGenerator(self.shape, self.latent_dim, self.classes, self.width, self.attention)
        orthogonal_init(g)
        nn.init.normal_(g.embedding.weight)  # as large as z: the class is heard from the start
        return g.to(memory_format=torch.channels_last)  # faster convolutions, the same network

    def build_discriminator(self) -> nn.Module:
        body: nn.Module
        if is_image(self.shape):
            body = ResidualFeatures(self.shape, self.width, self.attention)
            features = body.features
        else:
            features = 8 * self.width
            body = nn.Sequential(multilayer_perceptron(size_of(self.shape), [features], features), nn.LeakyReLU(0.2))
        augment = Augment(self.augment if is_image(self.shape) else "none")
        d = nn.Sequential(augment, body, self.build_head(features))
        orthogonal_init(d)
        return spectrally_normalised(d.to(memory_format=torch.channels_last))

    def build_head(self, features: int) -> nn.Module:
        """What reads D's features ``(n, features)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define build_head(features)")

    def latent(self, n: int, rng: Generator | None = None) -> Tensor:
        z = super().latent(n, rng)
        if self.truncation and not self.training:
            # The inverse of the distribution function: a uniform number becomes a normal one within the limit.
            most = math.erf(self.truncation / math.sqrt(2))
            u = torch.rand(n, self.latent_dim, generator=rng, device=device_of(self))
            z = math.sqrt(2) * torch.erfinv(most * (2 * u - 1))
        y = torch.randint(self.classes, (n,), generator=rng, device=z.device)
        return torch.cat([z, functional.one_hot(y, self.classes)], 1)

    def fake(self, z: Tensor) -> Batch:
        y = z[:, self.latent_dim :].argmax(1)
        g = self.generator if self.training else self.average
        return Batch(g(z[:, : self.latent_dim], y), y)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        self.discriminator[0].observe(real_logits)
        return hinge_discriminator_loss(real_logits, fake_logits)

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return hinge_generator_loss(fake_logits)

    def settle(self, clock: Clock) -> None:
        self.discriminator[0].adapt(clock)
        move_average(self.average, self.generator, warm_decay(self.ema_decay, clock.step))
        for optimizer in self.optimizers.values():
            set_step_size(optimizer, self.lr * scheduled("linear", clock.fraction, start=1 - self.decay))
