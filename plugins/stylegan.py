"""Style-based generator.

Karras, Laine and Aila 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks": a
mapping network f from z to w, a learnt constant input, styles y = A(w) at every convolution, noise inputs
with a learnt strength (section 2, figure 1b), style mixing (section 3.1), truncation psi towards the mean
of w (appendix B), non-saturating loss with R1 and gamma (appendix C).

Styles act as in Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2:
they scale the convolution's inputs, and its weights are demodulated (equations 1 and 3), where the first
paper normalised each image's features (AdaIN). The R1 penalty is left out of most steps (section 3.1 there).
Noise has one strength a layer, as there. Left out: path length regularisation, skip and residual networks, and the
correction of Adam's settings for lazy penalties. D is that of Karras et al. 2018.

The paper's step sizes are 1e-3 to 3e-3 by resolution, a hundredth of it for f, and gamma is 10; the defaults here were
set by hand for budgets of minutes, and a search kept them (results/tuning).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from ganbench.plugin import Batch, Clock, Range, Variant, hookimpl
from ganbench.toolkit import (
    AugmentedGAN,
    EqualizedConv2d,
    EqualizedLinear,
    MinibatchStdDev,
    PixelNorm,
    frozen_copy,
    lazy_weight,
    move_average,
    pyramid,
    r1_penalty,
    require_image,
    size_of,
    warm_decay,
)


class StyledConv2d(nn.Module):
    """Convolution whose weights are scaled for each image by its style; then noise, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, resample: Literal["up"] | None = None) -> None:
        super().__init__()
        self.style = EqualizedLinear(w_dim, inputs, gain=1, bias=1)
        self.convolution = EqualizedConv2d(inputs, outputs, resample=resample)
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None) -> Tensor:
        s, conv = self.style(w), self.convolution
        # Scaling what goes in and what comes out is the same as scaling each image's own weights.
        modulated = conv.convolve(x * s[:, :, None, None])
        squares = (conv.weight * conv.scale).square().sum((2, 3))
        demodulation = math.sqrt(2) * (s.square() @ squares.T + 1e-8).rsqrt()  # sqrt(2): the leaky ReLU's gain
        bias = conv.bias[:, None, None]
        shift = bias if noise is None else bias + self.strength * noise
        return functional.leaky_relu(torch.addcmul(shift, modulated, demodulation[:, :, None, None]), 0.2)


class StyleGenerator(nn.Module):
    """Generator of two networks: f maps the latent to a style, g draws the image with that style at every layer.

    Features have ``shapes``, the lowest resolution first. f has ``depth`` layers; ``rate`` is its step size over g's.
    """

    w_mean: Tensor

    def __init__(
        self, latent_dim: int, shapes: list[tuple[int, int, int]], channels: int, depth: int, rate: float
    ) -> None:
        super().__init__()
        f: list[nn.Module] = [PixelNorm()]
        for _ in range(depth):
            f += [EqualizedLinear(latent_dim, latent_dim, rate=rate), nn.LeakyReLU(0.2)]
        self.mapping = nn.Sequential(*f)
        self.register_buffer("w_mean", torch.zeros(latent_dim))
        self.constant = nn.Parameter(torch.randn(shapes[0]))
        layers = [StyledConv2d(shapes[0][0], shapes[0][0], latent_dim)]
        for (a, *_), (b, *_) in pairwise(shapes):
            layers += [StyledConv2d(a, b, latent_dim, "up"), StyledConv2d(b, b, latent_dim)]
        self.noise_sides = [shape[1:] for shape in shapes for _ in range(2)][1:]  # two layers at each, one at the first
        self.layers, self.styles = nn.ModuleList(layers), len(layers) + 1  # a style for each layer, one for the colours
        self.style = EqualizedLinear(latent_dim, shapes[-1][0], gain=1, bias=1)
        self.to_image = EqualizedConv2d(shapes[-1][0], channels, 1, gain=1)

    def noise(self, n: int, rng: torch.Generator | None = None) -> list[Tensor]:
        """Standard normal noise for each layer, one channel."""
        return [torch.randn(n, 1, *sides, generator=rng, device=self.constant.device) for sides in self.noise_sides]

    def synthesise(self, w: Tensor, noise: list[Tensor] | None = None) -> Tensor:
        """Images ``(n, channels, height, width)`` from ``w`` ``(n, styles, latent_dim)``; no noise by default."""
        x = self.constant.expand(len(w), -1, -1, -1)
        for i, layer in enumerate(self.layers):
            x = layer(x, w[:, i], noise[i] if noise else None)
        return torch.tanh(self.to_image(x * self.style(w[:, -1])[:, :, None, None]))


class StyleGAN(AugmentedGAN):
    """GAN whose generator turns the latent into a style that sets every layer of the image network.

    In training, images mix two styles and have noise; ``generate`` has neither, ``sample`` has noise.
    """

    name = "stylegan"
    generator: StyleGenerator
    width: int
    mapping_depth: int
    mapping_rate: float
    mixing: float
    psi: float
    gamma: float
    r1_interval: int
    ema_decay: float

    def __init__(
        self,
        shape: torch.Size,
        width: Annotated[int, Range(4, 128, log=True), "channels next to the image"] = 16,
        mapping_depth: Annotated[int, Range(1, 8), "layers of the mapping network"] = 4,
        mapping_rate: Annotated[float, Range(1e-3, 1.0, log=True), "its learning rate, relative to lr"] = 0.1,
        mixing: Annotated[float, Range(0.0, 1.0), "share of training images that mix two styles"] = 0.9,
        psi: Annotated[float, Range(0.0, 1.0), "truncation of w; 1 is none, 0 the mean image"] = 1.0,
        gamma: Annotated[float, Range(1e-4, 100, log=True), "weight of the R1 penalty"] = 1.0,
        r1_interval: Annotated[int, Range(1, 32), "steps from one R1 penalty to the next"] = 8,
        ema_decay: Annotated[float, Range(0.0, 0.9999), "decay of the generator's average, a step"] = 0.99,
        lr: Annotated[float, Range(1e-4, 1e-1, log=True), "Adam step size"] = 1e-2,
        beta1: Annotated[float, Range(0.0, 0.95), "Adam decay of the mean gradient"] = 0.0,
        **hyperparameters: Any,
    ) -> None:
        require_image(self.name, shape)
        hyperparameters.update(width=width, mapping_depth=mapping_depth, mapping_rate=mapping_rate, mixing=mixing)
        hyperparameters.update(psi=psi, gamma=gamma, r1_interval=r1_interval, ema_decay=ema_decay, lr=lr, beta1=beta1)
        super().__init__(shape, **hyperparameters)
        self.average = frozen_copy(self.generator)
        self.penalised = True

    def build_generator(self) -> nn.Module:
        shapes = pyramid(self.shape, self.width)
        g = StyleGenerator(self.latent_dim, shapes, self.shape[0], self.mapping_depth, self.mapping_rate)
        return g.to(memory_format=torch.channels_last)  # faster convolutions, the same network

    def build_discriminator(self) -> nn.Module:
        shapes = pyramid(self.shape, self.width)
        layers: list[nn.Module] = [EqualizedConv2d(self.shape[0], shapes[-1][0], 1), nn.LeakyReLU(0.2)]
        for (a, *_), (b, *_) in pairwise(reversed(shapes)):
            layers += [EqualizedConv2d(a, a), nn.LeakyReLU(0.2)]
            layers += [EqualizedConv2d(a, b, resample="down"), nn.LeakyReLU(0.2)]
        wide = shapes[0][0]
        layers += [MinibatchStdDev(), EqualizedConv2d(wide + 1, wide), nn.LeakyReLU(0.2), nn.Flatten()]
        layers += [EqualizedLinear(size_of(shapes[0]), wide), nn.LeakyReLU(0.2), EqualizedLinear(wide, 1, gain=1)]
        return nn.Sequential(*layers).to(memory_format=torch.channels_last)

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        return Adam(network.parameters(), lr=self.lr, betas=(self.beta1, 0.99), fused=True)

    def fake(self, z: Tensor) -> Batch:
        if not self.training:
            return Batch(self.average.synthesise(self.truncated(z)))
        g, n = self.generator, len(z)
        w = g.mapping(z)
        g.w_mean.mul_(0.99).add_(w.detach().mean(0), alpha=0.01)
        return Batch(g.synthesise(self.mixed(w, g.mapping(self.latent(n))), g.noise(n)))

    def mixed(self, first: Tensor, second: Tensor) -> Tensor:
        """Styles ``(n, styles, latent_dim)``: of some images, those after a random point are another latent's."""
        n, styles, device = len(first), self.generator.styles, first.device
        crossover = torch.randint(1, styles, (n, 1), device=device)
        mixes = torch.rand(n, 1, device=device) < self.mixing
        later = mixes & (torch.arange(styles, device=device) >= crossover)
        return torch.where(later[:, :, None], second[:, None], first[:, None])

    def truncated(self, z: Tensor) -> Tensor:
        """The same style for every layer, ``w_mean + psi (f(z) - w_mean)``."""
        g = self.average
        w = g.w_mean + self.psi * (g.mapping(z) - g.w_mean)
        return w[:, None].expand(-1, g.styles, -1)

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        return self.average.synthesise(self.truncated(self.latent(n, rng)), self.average.noise(n, rng))

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        loss = super().discriminator_phase(real, fake)
        if self.penalised:
            r1 = r1_penalty(lambda x: self.judge(Batch(x)), real.data)
            loss = loss + self.r1_interval * self.gamma * r1
        return loss

    def settle(self, clock: Clock) -> None:
        super().settle(clock)
        move_average(self.average, self.generator, warm_decay(self.ema_decay, clock.step))
        self.penalised = lazy_weight(clock.step + 1, self.r1_interval) > 0


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [StyleGAN]
