"""Restricted Boltzmann machine.

Smolensky 1986, "Information Processing in Dynamical Systems: Foundations of Harmony Theory": binary visible
units v and hidden units h with p(v, h) ~ exp(b.v + c.h + h.W v), whose hidden units are independent given v, and
the visible ones given h. Trained by contrastive divergence, CD-k, Hinton 2002, "Training Products of Experts by
Minimizing Contrastive Divergence": data are compared with what k steps of Gibbs sampling make of them. The intensity
of a pixel is taken for the probability that its unit is on. Step size and momentum are what a search chose
(results/tuning).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from ganbench.plugin import Batch, Clock, Range, Unsuitable, Variant, hookimpl
from ganbench.toolkit import is_image, size_of


class RBM(Variant):
    """Restricted Boltzmann machine: one layer of hidden on/off units that learns which pixels go together.

    It has no latent space: a sample is the end of a Gibbs chain of its own.
    """

    name = "rbm"
    hidden: int
    lr: float
    momentum: float
    k: int
    gibbs_steps: int

    def __init__(
        self,
        shape: torch.Size,
        hidden: Annotated[int, Range(8, 2048, log=True), "hidden units"] = 128,
        lr: Annotated[float, Range(1e-4, 1.0, log=True), "SGD step size at the start, falling to 0 at the end"] = 0.78,
        momentum: Annotated[float, Range(0.0, 0.99), "SGD momentum"] = 0.073,
        k: Annotated[int, Range(1, 50, log=True), "Gibbs steps from the data in training (CD-k)"] = 1,
        gibbs_steps: Annotated[int, Range(1, 10_000, log=True), "Gibbs steps from noise to a sample"] = 100,
        **hyperparameters: Any,
    ) -> None:
        if not is_image(shape):
            raise Unsuitable(
                f"{self.name} has visible units that are on or off: it needs pixel intensities, not points"
            )
        super().__init__(
            shape, hidden=hidden, lr=lr, momentum=momentum, k=k, gibbs_steps=gibbs_steps, **hyperparameters
        )
        self.W = nn.Parameter(torch.randn(hidden, size_of(shape)) * 0.01)
        self.b = nn.Parameter(torch.zeros(size_of(shape)))
        self.c = nn.Parameter(torch.zeros(hidden))
        self.optimizers["machine"] = SGD(self.parameters(), lr=lr, momentum=momentum, fused=True)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log sum_h exp(b.v + c.h + h.W v) of each row, ``(n, visible) -> (n,)``."""
        return -v @ self.b - functional.softplus(functional.linear(v, self.W, self.c)).sum(1)

    def visible_given_hidden(self, h: Tensor) -> Tensor:
        """p(v = 1 | h), ``(n, hidden) -> (n, visible)``."""
        return torch.sigmoid(torch.addmm(self.b, h, self.W))

    def hidden_given_visible(self, v: Tensor) -> Tensor:
        """p(h = 1 | v), ``(n, visible) -> (n, hidden)``."""
        return torch.sigmoid(functional.linear(v, self.W, self.c))

    @torch.no_grad()
    def gibbs(self, v: Tensor, steps: int, rng: Generator | None = None) -> Tensor:
        """Probabilities p(v = 1 | h) of the last of ``steps`` steps of the chain v, h, v, h, ... from ``v``."""
        for step in range(steps):
            if step:  # what comes in is not drawn again: intensities drive the hidden units as they are
                v = torch.bernoulli(v, generator=rng)
            h = torch.bernoulli(self.hidden_given_visible(v), generator=rng)
            v = self.visible_given_hidden(h)
        return v

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        data = (batch.data.flatten(1) + 1) / 2
        for group in self.optimizers["machine"].param_groups:
            group["lr"] = self.lr * (1 - clock.fraction)
        # The gradient of this difference, the chain's end being constant, is that of CD-k.
        loss = (self.free_energy(data) - self.free_energy(self.gibbs(data, self.k))).mean()
        self.update("machine", loss)
        return {"contrast": loss}

    def sample(self, n: int, rng: Generator | None = None) -> Tensor:
        """Chains of ``gibbs_steps`` steps from fair coins; the last visible probabilities are the image."""
        v = torch.full((n, len(self.b)), 0.5, device=self.b.device)
        return self.gibbs(torch.bernoulli(v, generator=rng), self.gibbs_steps, rng).reshape(n, *self.shape) * 2 - 1


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [RBM]
