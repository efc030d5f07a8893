"""GAN with minibatch discrimination.

Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.2: D sees beside each sample how
close it lies to the others of its batch, so that a generator that shows one thing is found out. Step size, its decay
and momentum were set by hand, and a search kept them (results/tuning); the authors' code takes 3e-4, beta1 = 0.5 and
100 kernels of five dimensions.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ganbench.plugin import Range, Variant, hookimpl
from ganbench.toolkit import BackboneGAN


class Closeness(nn.Module):
    """Layer that adds to each sample's features how close they are to those of the other samples in the batch.

    From f ``(n, A)`` to f and o ``(n, A + B)``, with o(x_i)_b the mean over j != i of exp(-|M_ib - M_jb|_1).

    M_i = f(x_i) T with T of shape ``(A, B, C)``: B kernels of C dimensions. The paper takes the sum over j,
    itself included; the mean over the others has the same scale for every batch size.
    """

    def __init__(self, features: int, kernels: int, dimensions: int) -> None:
        super().__init__()
        self.T = nn.Parameter(torch.randn(features, kernels, dimensions) / features**0.5)

    def forward(self, f: Tensor) -> Tensor:
        m = torch.einsum("na,abc->nbc", f, self.T)
        c = torch.exp(-(m[:, None] - m[None]).abs().sum(3))
        o = (c.sum(1) - 1) / max(len(f) - 1, 1)  # without itself, at distance 0
        return torch.cat([f, o], 1)


class Minibatch(BackboneGAN):
    """GAN whose D sees how close the samples of a batch are to each other, and so notices when G repeats itself."""

    name = "minibatch"
    kernels: int
    dimensions: int

    def __init__(
        self,
        shape: torch.Size,
        kernels: Annotated[int, Range(4, 128, log=True), "B: kernels of the closeness"] = 16,
        dimensions: Annotated[int, Range(2, 32, log=True), "C: dimensions of a kernel"] = 4,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, kernels=kernels, dimensions=dimensions, **hyperparameters)

    def build_discriminator(self) -> nn.Module:
        features = 4 * self.channels
        closeness = Closeness(features, self.kernels, self.dimensions)
        return nn.Sequential(
            self.discriminator_on(self.shape, features),
            nn.LeakyReLU(0.2),
            closeness,
            nn.Linear(features + self.kernels, 1),
        )


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Minibatch]
