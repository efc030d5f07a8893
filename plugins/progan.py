"""Progressive growing of GANs.

Karras, Aila, Laine and Lehtinen 2018, "Progressive Growing of GANs for Improved Quality, Stability, and
Variation": G and D begin at a low resolution and double it in step, each new layer faded in with a weight
alpha (section 2, figure 2); minibatch standard deviation (section 3); equalised learning rate and pixel
norm (section 4); Adam with beta1 = 0 and beta2 = 0.99, and an average of G's weights, which makes the
samples (appendix A.1).

The paper's loss is that of WGAN-GP, and says that its contributions do not depend on it. Here it is the
non-saturating one with R1 (Mescheder, Geiger and Nowozin 2018, equation 9), whose penalty may be left out
of most steps (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.1).

The paper's step size is 1e-3; the default here was set by hand for budgets of minutes, and a search kept it
(results/tuning).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from ganbench.plugin import GAN, Batch, Clock, Range, Variant, hookimpl
from ganbench.toolkit import (
    EqualizedConv2d,
    EqualizedLinear,
    MinibatchStdDev,
    PixelNorm,
    Reshape,
    frozen_copy,
    halvings,
    move_average,
    pyramid,
    require_image,
    size_of,
    squared_gradient,
    warm_decay,
)

Shapes = list[tuple[int, int, int]]


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Images of ``factor`` times the sides, by nearest neighbours."""
    return functional.interpolate(x, scale_factor=float(factor)) if factor > 1 else x


def reduce(x: Tensor, factor: int) -> Tensor:
    """Images of sides divided by ``factor``, by averages."""
    return functional.avg_pool2d(x, factor) if factor > 1 else x


class Generator(nn.Module):
    """Generator that grows: from latents ``(n, latent_dim)`` to images at the resolution of a stage, 0 the lowest."""

    def __init__(self, latent_dim: int, shapes: Shapes, channels: int) -> None:
        super().__init__()
        base, widths = shapes[0], [shape[0] for shape in shapes]
        self.first = nn.Sequential(
            PixelNorm(),
            EqualizedLinear(latent_dim, size_of(base)),
            Reshape(base),
            *self.after(),
            EqualizedConv2d(widths[0], widths[0]),
            *self.after(),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(EqualizedConv2d(a, b, resample="up"), *self.after(), EqualizedConv2d(b, b), *self.after())
            for a, b in pairwise(widths)
        )
        self.to_image = nn.ModuleList(EqualizedConv2d(wide, channels, 1, gain=1) for wide in widths)

    @staticmethod
    def after() -> list[nn.Module]:
        return [nn.LeakyReLU(0.2), PixelNorm()]

    def forward(self, z: Tensor, stage: int, alpha: float) -> Tensor:
        old = x = self.first(z)
        for block in self.blocks[:stage]:
            old, x = x, block(x)
        image = self.to_image[stage](x)
        if alpha < 1:
            image = enlarge(self.to_image[stage - 1](old), 2).lerp(image, alpha)
        return torch.tanh(image)


class Discriminator(nn.Module):
    """Discriminator that grows: from images at the resolution of a stage to logits ``(n, 1)``, G in reverse."""

    def __init__(self, shapes: Shapes, channels: int) -> None:
        super().__init__()
        base, widths = shapes[0], [shape[0] for shape in shapes]
        self.from_image = nn.ModuleList(
            nn.Sequential(EqualizedConv2d(channels, wide, 1), nn.LeakyReLU(0.2)) for wide in widths
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                EqualizedConv2d(b, b), nn.LeakyReLU(0.2), EqualizedConv2d(b, a, resample="down"), nn.LeakyReLU(0.2)
            )
            for a, b in pairwise(widths)
        )
        self.last = nn.Sequential(
            MinibatchStdDev(),
            EqualizedConv2d(widths[0] + 1, widths[0]),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            EqualizedLinear(size_of(base), widths[0]),
            nn.LeakyReLU(0.2),
            EqualizedLinear(widths[0], 1, gain=1),
        )

    def forward(self, x: Tensor, stage: int, alpha: float) -> Tensor:
        features = self.from_image[stage](x)
        for i in reversed(range(stage)):
            features = self.blocks[i](features)
            if alpha < 1 and i == stage - 1:
                features = self.from_image[i](reduce(x, 2)).lerp(features, alpha)
        return self.last(features)


class ProGAN(GAN):
    """GAN that starts at a low resolution; G and D get layers for higher ones as the budget is spent.

    ``stage`` counts the doublings so far, the one being faded in included; ``alpha`` in [0, 1] is the
    newest layers' weight. Each resolution is trained for as long as the next one is then faded in.
    """

    name = "progan"
    width: int
    growth: float
    gamma: float
    r1_interval: int
    ema_decay: float

    def __init__(
        self,
        shape: torch.Size,
        width: Annotated[int, Range(4, 128, log=True), "channels next to the image"] = 16,
        growth: Annotated[float, Range(0.05, 1.0), "share of the budget after which the networks are whole"] = 0.5,
        gamma: Annotated[float, Range(1e-4, 100, log=True), "weight of the R1 penalty"] = 1.0,
        r1_interval: Annotated[int, Range(1, 32), "steps from one R1 penalty to the next"] = 8,
        ema_decay: Annotated[float, Range(0.0, 0.9999), "decay of the generator's average, a step"] = 0.995,
        lr: Annotated[float, Range(1e-4, 1e-1, log=True), "Adam step size"] = 1e-2,
        beta1: Annotated[float, Range(0.0, 0.95), "Adam decay of the mean gradient"] = 0.0,
        **hyperparameters: Any,
    ) -> None:
        require_image(self.name, shape)
        hyperparameters.update(width=width, growth=growth, gamma=gamma, r1_interval=r1_interval)
        super().__init__(shape, ema_decay=ema_decay, lr=lr, beta1=beta1, **hyperparameters)
        self.average = frozen_copy(self.generator)
        self.stage, self.alpha, self.penalised = 0, 1.0, True

    def build_generator(self) -> nn.Module:
        g = Generator(self.latent_dim, pyramid(self.shape, self.width), self.shape[0])
        return g.to(memory_format=torch.channels_last)  # faster convolutions, the same network

    def build_discriminator(self) -> nn.Module:
        return Discriminator(pyramid(self.shape, self.width), self.shape[0]).to(memory_format=torch.channels_last)

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        return Adam(network.parameters(), lr=self.lr, betas=(self.beta1, 0.99), fused=True)

    def fake(self, z: Tensor) -> Batch:
        g = self.generator if self.training else self.average
        images = g(z, self.stage, self.alpha)
        return Batch(enlarge(images, self.shape[1] // images.shape[2]))

    def at_stage(self, x: Tensor) -> Tensor:
        """Images at the resolution that D sees now."""
        return reduce(x, x.shape[2] // (self.shape[1] // 2 ** (halvings(self.shape) - self.stage)))

    def judge(self, batch: Batch) -> Tensor:
        return self.discriminator(self.at_stage(batch.data), self.stage, self.alpha).flatten()

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        x = self.at_stage(real.data)
        if self.alpha < 1:  # real images are faded in too, or their detail would give them away
            x = enlarge(reduce(x, 2), 2).lerp(x, self.alpha)
        loss = super().discriminator_phase(Batch(x), fake)
        if self.penalised:
            r1 = squared_gradient(lambda x: self.judge(Batch(x)), x).mean()
            loss = loss + self.r1_interval * self.gamma / 2 * r1
        return loss

    def settle(self, clock: Clock) -> None:
        move_average(self.average, self.generator, warm_decay(self.ema_decay, clock.step))

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        doublings, part = divmod(halvings(self.shape) * min(1.0, clock.fraction / self.growth), 1)
        fading = part > 0.5
        self.stage, self.alpha = int(doublings) + fading, 2 * part - 1 if fading else 1.0
        self.penalised = clock.step % self.r1_interval == 0
        return super().train_step(batch, clock)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [ProGAN]
