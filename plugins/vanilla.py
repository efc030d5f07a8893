"""The first GAN: two fully connected networks in a minimax game.

Goodfellow et al. 2014, "Generative Adversarial Nets", Algorithm 1: D ascends log D(x) + log(1 - D(G(z)))
with G constant, then G ascends log D(G(z)) with D constant (section 3: the labels flipped, for a
gradient that does not vanish early). Both phases are ganbench's ``GAN``; this file is the networks.
The paper trains with momentum and names no step size; Adam's are what a search chose (results/tuning).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from ganbench.plugin import GAN, Range, Variant, defaults, hookimpl
from ganbench.toolkit import Reshape, is_image, multilayer_perceptron, size_of


@defaults(beta1=0.47)
class Vanilla(GAN):
    """The first GAN: G and D are small fully connected networks."""

    name = "vanilla"
    width: int
    depth: int

    def __init__(
        self,
        shape: torch.Size,
        width: Annotated[int, Range(16, 1024, log=True), "units of a hidden layer"] = 256,
        depth: Annotated[int, Range(1, 4), "hidden layers of each network"] = 2,
        lr: Annotated[float, Range(1e-5, 1e-2, log=True), "Adam step size"] = 1.6e-3,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, width=width, depth=depth, lr=lr, **hyperparameters)

    def build_generator(self) -> nn.Module:
        g = multilayer_perceptron(self.latent_dim, [self.width] * self.depth, size_of(self.shape))
        squash = [nn.Tanh()] if is_image(self.shape) else []  # images end in [-1, 1], points anywhere
        return nn.Sequential(g, *squash, Reshape(self.shape))

    def build_discriminator(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), multilayer_perceptron(size_of(self.shape), [self.width] * self.depth, 1))


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Vanilla]
