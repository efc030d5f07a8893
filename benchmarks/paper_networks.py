"""Networks and settings of papers as their authors' code has them, for benchmarks/claims.py; points only.

    ganbench run --plugin-path benchmarks/paper_networks.py -p pacgan-2d -d ring8 --batch-size 200 --images 4000000

The variants of plugins/ share networks, so that they can be compared. A claim of a paper is about its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from ganbench_plugins.unrolled import Unrolled
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ganbench.plugin import GAN, Batch, Clock, Range, Unsuitable, Variant, hookimpl


class Maxout(nn.Module):
    """A linear layer with the largest of several pieces as its output (Goodfellow et al. 2013, section 3)."""

    def __init__(self, inputs: int, outputs: int, pieces: int) -> None:
        super().__init__()
        self.linear, self.pieces = nn.Linear(inputs, outputs * pieces), pieces

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


class PacGAN2D(GAN):
    """GAN whose D judges ``pack`` points at once, with the networks that the paper has for rings and grids.

    Lin et al. 2018, PacGAN, section 4.1 and the code that its authors published: G has four hidden layers of 400 with
    batch normalisation, D three of 200 with five maxout pieces, weights start from N(0, 0.02^2), and each pack is of
    other points: a batch of 100 packs of two are 200 points. ``pack=1`` is the GAN that packing is compared with.
    Steps of G and D take turns here; there they are made at once.
    """

    name = "pacgan-2d"
    pack: int

    def __init__(
        self,
        shape: torch.Size,
        pack: Annotated[int, Range(1, 4), "m: points that D sees at once"] = 2,
        latent_dim: Annotated[int, Range(2, 512, log=True), "dimension of the latent space"] = 2,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 1e-4,
        beta1: Annotated[float, Range(0.0, 0.95), "Adam decay of the mean gradient"] = 0.8,
        **hyperparameters: Any,
    ) -> None:
        require_points(self.name, shape)
        super().__init__(shape, pack=pack, latent_dim=latent_dim, lr=lr, beta1=beta1, **hyperparameters)

    def build_generator(self) -> nn.Module:
        layers: list[nn.Module] = []
        for inputs in (self.latent_dim, 400, 400, 400):
            layers += [nn.Linear(inputs, 400, bias=False), nn.BatchNorm1d(400, momentum=0.05), nn.ReLU()]
        return initialised(nn.Sequential(*layers, nn.Linear(400, 2)), lambda w: nn.init.normal_(w, 0.0, 0.02))

    def build_discriminator(self) -> nn.Module:
        layers = [Maxout(inputs, 200, 5) for inputs in (2 * self.pack, 200, 200)]
        return initialised(nn.Sequential(*layers, nn.Linear(200, 1)), lambda w: nn.init.normal_(w, 0.0, 0.02))

    def judge(self, batch: Batch) -> Tensor:
        """A logit for each point, of the pack that it leads: itself and the next rows, cyclically."""
        return self.discriminator(torch.cat([batch.data.roll(-i, 0) for i in range(self.pack)], 1)).flatten()

    def judge_packs(self, x: Tensor) -> Tensor:
        """A logit for each pack, without a point in two of them."""
        return self.discriminator(x[: len(x) // self.pack * self.pack].reshape(-1, 2 * self.pack)).flatten()

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        return self.discriminator_loss(self.judge_packs(real.data), self.judge_packs(fake.data))

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        return self.generator_loss(self.judge_packs(fake.data))


class Unrolled2D(Unrolled):
    """Unrolled GAN with the networks and the step sizes of the notebook that its authors published.

    Metz et al. 2017: two hidden layers of 128 with tanh in G and D, orthogonal weights times 1.4, a latent of 256
    dimensions, and step sizes of 1e-3 for G and 1e-4 for D. With ``unroll_steps=0`` G meets D as it is.
    By default steps of G and D take turns; there they are made at once (``updates=simultaneous``).
    """

    name = "unrolled-2d"
    generator_lr: float
    updates: Literal["alternating", "simultaneous"]

    def __init__(
        self,
        shape: torch.Size,
        unroll_steps: Annotated[int, Range(0, 10), "K: steps that G looks ahead"] = 5,
        latent_dim: Annotated[int, Range(2, 512, log=True), "dimension of the latent space"] = 256,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size of D"] = 1e-4,
        generator_lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size of G"] = 1e-3,
        beta1: Annotated[float, Range(0.0, 0.95), "Adam decay of the mean gradient"] = 0.5,
        decay: Annotated[float, Range(0.0, 1.0), "last share of the budget, in which step sizes fall to 0"] = 0.0,
        updates: Annotated[Literal["alternating", "simultaneous"], "G meets D as it is after D's step, or before"] = (
            "alternating"
        ),
        **hyperparameters: Any,
    ) -> None:
        require_points(self.name, shape)
        super().__init__(
            shape,
            unroll_steps=unroll_steps,
            latent_dim=latent_dim,
            lr=lr,
            generator_lr=generator_lr,
            beta1=beta1,
            decay=decay,
            updates=updates,
            **hyperparameters,
        )
        if updates == "simultaneous" and self.critic_steps != 1:
            raise Unsuitable(f"{self.name} steps G and D at once with critic_steps=1 alone")

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        if self.updates == "alternating":
            return super().train_step(batch, clock)
        fake = self.fake(self.latent(len(batch.data)))
        losses = {"generator": self.generator_phase(batch, fake)}
        weights = list(self.generator.parameters())
        gradient = torch.autograd.grad(losses["generator"], weights)
        losses["discriminator"] = self.discriminator_phase(batch, Batch(fake.data.detach()))
        self.update("discriminator", losses["discriminator"])
        for w, slope in zip(weights, gradient, strict=True):
            w.grad = slope
        self.optimizers["generator"].step()
        with torch.no_grad():
            self.settle(clock)
        return losses

    def build_generator(self) -> nn.Module:
        return tanh_network(self.latent_dim, 2)

    def build_discriminator(self) -> nn.Module:
        return tanh_network(2, 1)

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        lr = self.generator_lr if network is self.generator else self.lr
        return Adam(network.parameters(), lr=lr, betas=(self.beta1, 0.999), fused=True)


def require_points(name: str, shape: torch.Size) -> None:
    if shape != (2,):
        raise Unsuitable(f"{name} is for points in the plane")


def tanh_network(inputs: int, outputs: int) -> nn.Module:
    layers = [nn.Linear(inputs, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, outputs)]
    return initialised(nn.Sequential(*layers), lambda w: nn.init.orthogonal_(w, gain=1.4))


def initialised(network: nn.Module, weights: Callable[[Tensor], Tensor]) -> nn.Module:
    """The network with new weights of its linear layers, and biases of 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            weights(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [PacGAN2D, Unrolled2D]
