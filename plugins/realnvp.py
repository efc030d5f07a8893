"""RealNVP: an invertible network whose likelihood is exact.

Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP": f is a chain of affine coupling layers,
y_a = x_a, y_b = x_b * exp(s(x_a)) + t(x_a) (equations 4 and 5), in which a and b change places. The change of variables
gives log p(x) = log N(f(x); 0, I) + the sum of all s (equations 2 and 6), which training raises; a sample is f^-1(z).
Adam's step size is what a search chose (results/tuning); the paper takes that of Adam's own paper, 1e-3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganbench.plugin import Batch, Clock, Range, Unsuitable, Variant, hookimpl
from ganbench.toolkit import Schedule, is_image, multilayer_perceptron, scheduled, set_step_size, size_of


class Coupling(nn.Module):
    """One affine coupling layer: half of the numbers stay and say how the others are scaled and moved."""

    stays: Tensor

    def __init__(self, dimension: int, width: int, parity: int) -> None:
        super().__init__()
        self.register_buffer("stays", torch.arange(dimension) % 2 == parity)
        self.network = multilayer_perceptron(dimension, [width] * 2, 2 * dimension)
        for parameter in self.network[-1].parameters():  # the identity at first
            nn.init.zeros_(parameter)

    def scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s in (-2, 2) and t, 0 for the numbers that stay."""
        s, t = self.network(torch.where(self.stays, x, 0.0)).chunk(2, 1)
        return torch.where(self.stays, 0.0, 2 * torch.tanh(s)), torch.where(self.stays, 0.0, t)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y, and the logarithm of the Jacobian's determinant ``(n,)``."""
        s, t = self.scale_and_shift(x)
        return x * s.exp() + t, s.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        s, t = self.scale_and_shift(y)
        return (y - t) * (-s).exp()


class RealNVP(Variant):
    """Normalising flow: an invertible network that turns data into a Gaussian cloud, and run backwards draws samples.

    Of points only: on images it needs many more layers, and noise added to each grey value.
    """

    name = "realnvp"
    layers: int
    width: int
    schedule: Schedule
    lr: float

    def __init__(
        self,
        shape: torch.Size,
        layers: Annotated[int, Range(2, 32), "coupling layers"] = 6,
        width: Annotated[int, Range(8, 512, log=True), "units of the hidden layers of s and t"] = 128,
        schedule: Annotated[Schedule, "course of the step size"] = "cosine",
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 1.8e-3,
        **hyperparameters: Any,
    ) -> None:
        if is_image(shape):
            raise Unsuitable(f"{self.name} is a flow of points; images need more layers than it has")
        super().__init__(shape, layers=layers, width=width, schedule=schedule, lr=lr, **hyperparameters)
        self.latent_dim = size_of(shape)
        self.f: Any = nn.ModuleList(Coupling(self.latent_dim, width, parity=i % 2) for i in range(layers))
        self.optimizers["flow"] = Adam(self.parameters(), lr=lr, fused=True)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x) in nats, ``(n, d) -> (n,)``."""
        log_p = torch.zeros(len(x), device=x.device)
        for coupling in self.f:
            x, log_determinant = coupling(x)
            log_p = log_p + log_determinant
        return log_p - (x.square() + math.log(2 * math.pi)).sum(1) / 2

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        loss = -self.log_likelihood(batch.data.flatten(1)).mean()
        set_step_size(self.optimizers["flow"], self.lr * scheduled(self.schedule, clock.fraction, warm_up=0.02))
        self.update("flow", loss)
        return {"negative_log_likelihood": loss}

    def generate(self, z: Tensor) -> Tensor:
        for coupling in reversed(self.f):
            z = coupling.inverse(z)
        return z.reshape(-1, *self.shape)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [RealNVP]
