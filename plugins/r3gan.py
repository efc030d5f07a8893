"""R3GAN: a relativistic loss with penalties on D's gradient at real and at generated samples, in a modern network.

Huang, Gokaslan, Kuleshov and Tompkin 2024, "The GAN is dead; long live the GAN! A Modern Baseline GAN": the
relativistic pairing loss with zero-centred penalties R1 and R2 (section 2, equations 2 to 4), grouped residual blocks
without normalisation, fix-up initialisation, a learnt basis that z scales at the lowest resolution, and nothing else of
StyleGAN's (section 3, Config E).

The paper's weight of the penalties and its step size both fall during training, and Adam has no momentum (appendix). At
a hundredth of the paper's budget the step size is larger here, and the weight stays; a search kept both
(results/tuning).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from ganbench.plugin import GAN, Batch, Clock, Range, Variant, hookimpl
from ganbench.toolkit import (
    Augment,
    Augmentation,
    GroupedResidual,
    Schedule,
    fixup_init,
    frozen_copy,
    is_image,
    logits_and_squared_gradient,
    move_average,
    pyramid,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    require_image,
    scheduled,
    set_step_size,
    size_of,
    warm_decay,
)


class Basis(nn.Module):
    """The lowest resolution: each channel of a learnt map is scaled by a linear function of z."""

    def __init__(self, latent_dim: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(shape))
        self.scale = nn.Linear(latent_dim, shape[0], bias=False)
        nn.init.normal_(self.scale.weight, 0.0, latent_dim**-0.5)

    def forward(self, z: Tensor) -> Tensor:
        return self.basis * self.scale(z)[:, :, None, None]


class Resample(nn.Module):
    """Double or halve the sides by bilinear interpolation, after a 1x1 convolution where channels change."""

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        super().__init__()
        self.channels = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        if self.factor < 1:  # halving bilinearly is the mean of each square
            return functional.avg_pool2d(self.channels(x), 2)
        return functional.interpolate(self.channels(x), scale_factor=self.factor, mode="bilinear")


class ResidualLayer(nn.Module):
    """The same for points: ``x + W_2 leaky_relu(W_1 x)``, the second layer 0 at first."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.expand, self.reduce = nn.Linear(width, 2 * width), nn.Linear(2 * width, width, bias=False)
        fixup_init([self.expand, self.reduce], blocks)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.reduce(functional.leaky_relu(self.expand(x), 0.2))


class R3GAN(GAN):
    """GAN whose D compares real with generated samples in pairs and is kept smooth at both.

    The penalty at generated samples holds D's slope down where G goes next, which the one at real samples cannot.
    """

    name = "r3gan"
    decision_threshold = None
    discriminator: Any  # an Augment, and what follows
    width: int
    blocks: int
    gamma: float
    schedule: Schedule
    ema_decay: float
    augment: Augmentation

    def __init__(
        self,
        shape: torch.Size,
        width: Annotated[int, Range(8, 128, log=True), "channels next to the image; points: an eighth of a layer"] = 16,
        blocks: Annotated[int, Range(1, 4), "residual blocks at each resolution"] = 1,
        gamma: Annotated[float, Range(1e-3, 100.0, log=True), "weight of both penalties; points: a tenth of it"] = 1.0,
        schedule: Annotated[Schedule, "course of the step size"] = "cosine",
        ema_decay: Annotated[float, Range(0.0, 0.9999), "decay of the generator's average, a step"] = 0.99,
        augment: Annotated[Augmentation, "random changes to all images that D sees"] = "none",
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 4e-3,
        beta1: Annotated[float, Range(0.0, 0.95), "Adam decay of the mean gradient"] = 0.0,
        **hyperparameters: Any,
    ) -> None:
        if is_image(shape):
            require_image(self.name, shape)
        super().__init__(
            shape,
            width=width,
            blocks=blocks,
            gamma=gamma,
            schedule=schedule,
            ema_decay=ema_decay,
            augment=augment,
            lr=lr,
            beta1=beta1,
            **hyperparameters,
        )
        self.average = frozen_copy(self.generator)

    def build_generator(self) -> nn.Module:
        if not is_image(self.shape):
            return self.perceptron(self.latent_dim, size_of(self.shape))
        shapes = self.resolutions()
        (lowest, *_), (highest, side, _) = shapes[0], shapes[-1]
        layers: list[nn.Module] = [Basis(self.latent_dim, shapes[0]), *self.residual(lowest, len(shapes))]
        for (a, *_), (b, *_) in pairwise(shapes):
            layers += [Resample(a, b, 2.0), *self.residual(b, len(shapes))]
        if side < self.shape[1]:
            to_image: nn.Module = nn.ConvTranspose2d(highest, self.shape[0], 4, 2, 1)
        else:
            to_image = nn.Conv2d(highest, self.shape[0], 1)
        return nn.Sequential(*layers, to_image, nn.Tanh()).to(memory_format=torch.channels_last)

    def build_discriminator(self) -> nn.Module:
        if not is_image(self.shape):
            return nn.Sequential(Augment("none"), self.perceptron(size_of(self.shape), 1))
        shapes = self.resolutions()[::-1]
        (highest, side, _), (lowest, height, across) = shapes[0], shapes[-1]
        stride = self.shape[1] // side
        layers: list[nn.Module] = [nn.Conv2d(self.shape[0], highest, 4 if stride == 2 else 1, stride, stride // 2)]
        for (a, *_), (b, *_) in pairwise(shapes):
            layers += [*self.residual(a, len(shapes)), Resample(a, b, 0.5)]
        layers += [*self.residual(lowest, len(shapes)), nn.Conv2d(lowest, lowest, (height, across), groups=lowest)]
        d = nn.Sequential(Augment(self.augment), *layers, nn.Flatten(), nn.Linear(lowest, 1))
        return d.to(memory_format=torch.channels_last)

    def resolutions(self) -> list[tuple[int, int, int]]:
        """Feature shapes of the residual blocks, from the lowest resolution.

        Images of more than 16 pixels a side have none at their own resolution, which would take most of the time: one
        strided convolution leads from there and to there, as in DCGAN.
        """
        shapes = pyramid(self.shape, self.width)
        return shapes if self.shape[1] <= 16 else pyramid((self.width, *shapes[-2][1:]), self.width)

    def residual(self, channels: int, resolutions: int) -> list[nn.Module]:
        """The blocks of one resolution."""
        return [GroupedResidual(channels, self.blocks * resolutions) for _ in range(self.blocks)]

    def perceptron(self, inputs: int, outputs: int) -> nn.Sequential:
        wide, count = 8 * self.width, 2 * self.blocks
        blocks = [ResidualLayer(wide, count) for _ in range(count)]
        return nn.Sequential(nn.Linear(inputs, wide), *blocks, nn.LeakyReLU(0.2), nn.Linear(wide, outputs))

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        return Adam(network.parameters(), lr=self.lr, betas=(self.beta1, 0.99), fused=True)

    def fake(self, z: Tensor) -> Batch:
        return Batch(self.generator(z) if self.training else self.average(z))

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        both = torch.cat([real.data, fake.data])
        logits, squared = logits_and_squared_gradient(lambda x: self.judge(Batch(x)), both)
        real_logits, fake_logits = logits.chunk(2)
        self.discriminator[0].observe(real_logits - fake_logits)
        gamma = self.gamma if is_image(self.shape) else self.gamma / 10  # at narrow modes D has to be steep
        # The sum of both penalties, each the mean over its half, is twice the mean of all.
        return relativistic_discriminator_loss(real_logits, fake_logits) + gamma * squared.mean()

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        return relativistic_generator_loss(self.judge(real), self.judge(fake))

    def settle(self, clock: Clock) -> None:
        self.discriminator[0].adapt(clock)
        move_average(self.average, self.generator, warm_decay(self.ema_decay, clock.step))
        for optimizer in self.optimizers.values():
            set_step_size(optimizer, self.lr * scheduled(self.schedule, clock.fraction))


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [R3GAN]
