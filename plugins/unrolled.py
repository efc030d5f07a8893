"""Unrolled GAN.

Metz et al. 2017, "Unrolled Generative Adversarial Networks", equations 4 to 9: G descends the loss it would
meet after D has answered with K gradient steps, and its gradient flows through those steps. Few steps and
narrow networks by default: each step costs a backward pass through a backward pass.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor
from torch.func import functional_call, grad

from ganbench.plugin import Batch, Range, Variant, hookimpl
from ganbench.toolkit import BackboneGAN


class Unrolled(BackboneGAN):
    """GAN whose G learns against the D of a few steps ahead, so that jumping from mode to mode does not pay.

    D's answer is computed functionally: its weights, its optimizer and the count of its updates stay as they are.
    """

    name = "unrolled"
    unroll_steps: int
    unroll_lr: float

    def __init__(
        self,
        shape: torch.Size,
        unroll_steps: Annotated[int, Range(1, 10), "K: steps that G looks ahead"] = 2,
        unroll_lr: Annotated[float, Range(1e-5, 1.0, log=True), "eta: size of D's gradient steps in the answer"] = 0.03,
        width: Annotated[int, Range(8, 256, log=True), "channels next to an image; points: a quarter of a layer"] = 16,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, unroll_steps=unroll_steps, unroll_lr=unroll_lr, width=width, **hyperparameters)

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        n = len(fake.data)  # one pass for both kinds, twice as fast as two
        both = torch.cat([real.data, fake.data])

        def loss(theta: dict[str, Tensor]) -> Tensor:
            logits = functional_call(self.discriminator, theta, (both,)).flatten()
            return self.discriminator_loss(logits[:-n], logits[-n:])

        theta: dict[str, Tensor] = dict(self.discriminator.named_parameters())
        for _ in range(self.unroll_steps):
            step = grad(loss)(theta)
            theta = {name: w - self.unroll_lr * step[name] for name, w in theta.items()}
        return -loss(theta)  # the value of the game itself: the labels flipped would reward leading D astray


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Unrolled]
