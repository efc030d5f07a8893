"""Flow matching: a network learns the velocity that carries noise to data along straight lines.

Lipman, Chen, Ben-Hamu, Nickel and Le 2023, "Flow Matching for Generative Modeling": with noise x_0 ~ N(0, I), data x_1
and psi_t(x_0) = (1 - (1 - sigma_min) t) x_0 + t x_1 (equation 22), the velocity v_t is fitted to
x_1 - (1 - sigma_min) x_0 by least squares (equation 23). A sample is the end at t = 1 of the ordinary differential
equation dx/dt = v_t(x) that begins at noise (equation 1), here by the midpoint rule in a few steps.

The network is a small U-Net (Ho et al. 2020, appendix B) for images and a perceptron for points; its average over
training is what samples. Its step size was set by hand, and a search kept it (results/tuning); the paper takes 5e-4 on
CIFAR-10 (appendix E).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from ganbench.plugin import Batch, Clock, Range, Variant, hookimpl
from ganbench.toolkit import (
    Schedule,
    frozen_copy,
    is_image,
    move_average,
    pyramid,
    require_image,
    scheduled,
    set_step_size,
    size_of,
    usual_width,
    warm_decay,
)

FREQUENCIES = 16


def time_features(t: Tensor) -> Tensor:
    """Sines and cosines of a time in [0, 1] at several frequencies, ``(n,) -> (n, 32)``."""
    angles = t[:, None] * torch.logspace(0, math.log10(20), FREQUENCIES, device=t.device)
    return torch.cat([angles.sin(), angles.cos()], 1)


def normalised(channels: int) -> nn.GroupNorm:
    """Normalisation over an image's places and an eighth of its channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


class Block(nn.Module):
    """A residual block that is told the time: ``(n, inputs, h, w), (n, d) -> (n, outputs, h, w)``."""

    def __init__(self, inputs: int, outputs: int, time_dim: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = normalised(inputs), normalised(outputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(time_dim, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second.weight)  # the identity at first

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.first(functional.silu(self.first_norm(x)))
        scale, shift = self.time(time)[:, :, None, None].chunk(2, 1)
        h = torch.addcmul(shift, self.second_norm(h), 1 + scale)
        return self.skip(x) + self.second(functional.silu(h))


class UNet(nn.Module):
    """Velocities of images: blocks at falling resolutions and back, each way up joined with its way down.

    Images of more than 16 pixels a side enter and leave in squares of 2x2, which makes it four times as fast.
    """

    def __init__(self, shape: torch.Size, width: int) -> None:
        super().__init__()
        self.square = 2 if shape[1] > 16 else 1
        channels = shape[0] * self.square**2
        shapes = pyramid((channels, shape[1] // self.square, shape[2] // self.square), width)[::-1]
        wide = [channels for channels, *_ in shapes]
        time_dim = 4 * width
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim))
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        pairs = list(pairwise(wide))
        self.down = nn.ModuleList(Block(a, a, time_dim) for a, _ in pairs)
        self.widen = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.middle = nn.ModuleList(Block(wide[-1], wide[-1], time_dim) for _ in range(2))
        self.up = nn.ModuleList(Block(b + a, a, time_dim) for a, b in reversed(pairs))
        self.leave = nn.Sequential(normalised(width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = functional.silu(self.time(time_features(t)))
        x = self.enter(functional.pixel_unshuffle(x, self.square))
        kept = []
        for block, widen in zip(self.down, self.widen, strict=True):
            x = block(x, time)
            kept.append(x)
            x = widen(functional.avg_pool2d(x, 2))
        for block in self.middle:
            x = block(x, time)
        for block in self.up:
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), kept.pop()], 1), time)
        return functional.pixel_shuffle(self.leave(x), self.square)


class PointVelocity(nn.Module):
    """Velocities of points: a perceptron of the place and the time."""

    def __init__(self, shape: torch.Size, width: int) -> None:
        super().__init__()
        sizes = [size_of(shape) + 2 * FREQUENCIES, *[8 * width] * 4]
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.network = nn.Sequential(*layers, nn.Linear(8 * width, size_of(shape)))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.network(torch.cat([x.flatten(1), time_features(t)], 1)).reshape(x.shape)


class FlowMatching(Variant):
    """A network that learns in which direction to move noise, step by step, until it is data; no GAN.

    The latent is the noise itself: as many numbers as a sample has.
    """

    name = "flow-matching"
    width: int | None
    steps: int
    sigma_min: float
    ema_decay: float
    schedule: Schedule
    lr: float

    def __init__(
        self,
        shape: torch.Size,
        width: Annotated[
            int | None,
            Range(8, 128, log=True),
            "channels at the highest resolution, 32, above 16 pixels 16; points: an eighth of a layer, 32",
        ] = None,
        steps: Annotated[
            int, Range(1, 100, log=True), "midpoint steps from noise to a sample; points: four times as many"
        ] = 8,
        sigma_min: Annotated[float, Range(0.0, 0.1), "standard deviation around a data point at t = 1"] = 1e-3,
        ema_decay: Annotated[float, Range(0.0, 0.9999), "decay of the network's average, a step"] = 0.99,
        schedule: Annotated[Schedule, "course of the step size"] = "cosine",
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 2e-3,
        **hyperparameters: Any,
    ) -> None:
        if is_image(shape):
            require_image(self.name, shape)
        super().__init__(
            shape,
            width=width,
            steps=steps,
            sigma_min=sigma_min,
            ema_decay=ema_decay,
            schedule=schedule,
            lr=lr,
            **hyperparameters,
        )
        self.latent_dim = size_of(shape)
        self.velocity = (UNet if is_image(shape) else PointVelocity)(self.shape, usual_width(self.shape, self.width))
        self.average = frozen_copy(self.velocity)
        self.optimizers["velocity"] = Adam(self.velocity.parameters(), lr=lr, fused=True)

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        x_1 = batch.data
        x_0, n = torch.randn_like(x_1), len(x_1)
        # Spread evenly over [0, 1]: the same distribution of t, and a steadier loss.
        t = (torch.arange(n, device=x_1.device) + torch.rand(n, device=x_1.device)) / n
        s = t.reshape(-1, *[1] * len(self.shape))
        psi = (1 - (1 - self.sigma_min) * s) * x_0 + s * x_1
        loss = (self.velocity(psi, t) - (x_1 - (1 - self.sigma_min) * x_0)).square().mean()
        set_step_size(self.optimizers["velocity"], self.lr * scheduled(self.schedule, clock.fraction, warm_up=0.02))
        self.update("velocity", loss)
        move_average(self.average, self.velocity, warm_decay(self.ema_decay, clock.step))
        return {"velocity": loss}

    def generate(self, z: Tensor) -> Tensor:
        x, steps = z.reshape(-1, *self.shape), self.steps if is_image(self.shape) else 4 * self.steps
        h = 1 / steps
        for i in range(steps):
            t = torch.full((len(x),), i * h, device=x.device)
            middle = x + h / 2 * self.average(x, t)
            x = x + h * self.average(middle, t + h / 2)
        return x


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [FlowMatching]
