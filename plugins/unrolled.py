"""Unrolled GAN.

Metz et al. 2017, "Unrolled Generative Adversarial Networks", equations 4 to 9: G descends the loss it would
meet after D has answered with K steps, and its gradient flows through those steps. The equations take gradient
steps; the paper's experiments, steps of D's own Adam, the default here: ``unroll`` chooses. Few steps and narrow
networks by default: each step costs a backward pass through a backward pass. The paper takes up to 10 steps and a
step size of 1e-4, which needs many times the default budget (docs/claims.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call, grad

from ganbench.plugin import Batch, Range, Variant, hookimpl
from ganbench.toolkit import BackboneGAN

TINY = 1e-24  # below Adam's own eps of 1e-8, squared: the slope of a root at 0 is infinite


class Unrolled(BackboneGAN):
    """GAN whose G learns against the D of a few steps ahead, so that jumping from mode to mode does not pay.

    D's answer is computed functionally: its weights, its optimizer and the count of its updates stay as they are.
    """

    name = "unrolled"
    unroll_steps: int
    unroll_lr: float
    unroll: Literal["adam", "gradient"]

    def __init__(
        self,
        shape: torch.Size,
        unroll_steps: Annotated[int, Range(1, 10), "K: steps that G looks ahead"] = 2,
        unroll: Annotated[Literal["adam", "gradient"], "D's steps: of its optimizer, or of unroll_lr"] = "adam",
        unroll_lr: Annotated[float, Range(1e-5, 1.0, log=True), "eta: size of D's gradient steps in the answer"] = 1e-3,
        width: Annotated[int, Range(8, 256, log=True), "channels next to an image; points: a quarter of a layer"] = 16,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(
            shape, unroll_steps=unroll_steps, unroll=unroll, unroll_lr=unroll_lr, width=width, **hyperparameters
        )

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        n = len(fake.data)  # one pass for both kinds, twice as fast as two
        both = torch.cat([real.data, fake.data])

        def loss(theta: dict[str, Tensor]) -> Tensor:
            logits = functional_call(self.discriminator, theta, (both,)).flatten()
            return self.discriminator_loss(logits[:-n], logits[-n:])

        theta: dict[str, Tensor] = dict(self.discriminator.named_parameters())
        move = self.descend if self.unroll == "gradient" else self.adam()
        for _ in range(self.unroll_steps):
            theta = move(theta, grad(loss)(theta))
        return -loss(theta)  # the value of the game itself: the labels flipped would reward leading D astray

    def descend(self, theta: dict[str, Tensor], gradient: dict[str, Tensor]) -> dict[str, Tensor]:
        """One gradient step: ``theta - eta grad``."""
        return {name: w - self.unroll_lr * gradient[name] for name, w in theta.items()}

    def adam(self) -> Callable[[dict[str, Tensor], dict[str, Tensor]], dict[str, Tensor]]:
        """Steps of D's optimizer from where it is now, as functions of the gradient that G learns through.

        Kingma and Ba 2015, algorithm 1. The optimizer itself keeps its moments.
        """
        optimizer = self.optimizers["discriminator"]
        settings, state = optimizer.param_groups[0], optimizer.state
        b1, b2 = settings["betas"]

        def moments_of(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Adam's two moments, and the number of steps so far: on the device, where nothing waits for it."""
            precise = torch.float32 if w.device.type == "mps" else torch.float64  # mps has no float64
            if w not in state:
                return torch.zeros_like(w), torch.zeros_like(w), torch.zeros((), dtype=precise, device=w.device)
            return state[w]["exp_avg"], state[w]["exp_avg_sq"], state[w]["step"].to(precise)

        moments = {name: moments_of(w) for name, w in self.discriminator.named_parameters()}

        def step(theta: dict[str, Tensor], gradient: dict[str, Tensor]) -> dict[str, Tensor]:
            answer = {}
            for name, w in theta.items():
                m, v, t = moments[name]
                m, v, t = b1 * m + (1 - b1) * gradient[name], b2 * v + (1 - b2) * gradient[name] ** 2, t + 1
                moments[name] = m, v, t
                scale = (v / (1 - b2**t) + TINY).sqrt() + settings["eps"]
                answer[name] = w - settings["lr"] * m / (1 - b1**t) / scale
            return answer

        return step


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Unrolled]
