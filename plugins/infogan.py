"""InfoGAN: part of the latent is a code that can be read off each sample again.

Chen, Duan, Houthooft, Schulman, Sutskever and Abbeel 2016, "InfoGAN: Interpretable Representation Learning by
Information Maximizing Generative Adversarial Nets": the game V(D, G) minus lambda L_I(G, Q) (equation 6), where
L_I = E log Q(c|x) + H(c) is a lower bound of the mutual information I(c; G(z, c)) of code and sample (equation 5). The
code c is a category and numbers from U(-1, 1); Q(c|x) is a categorical distribution and Gaussians (section 6), a last
layer on D's features. Their standard deviation is fixed at a quarter of the numbers' range.

The paper takes lambda = 1 for categories, and step sizes of 2e-4 for D and 1e-3 for G. One step size for both, its
decay and momentum are what a search chose (results/tuning).

No labels are used: whether a category comes to be a class, and a number the slant, is what there is to see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ganbench.plugin import Batch, Clock, Range, Variant, defaults, hookimpl
from ganbench.toolkit import BackboneGAN

SIGMA = 0.5


@defaults(lr=1.3e-3, beta1=0.55, decay=0.061)
class InfoGAN(BackboneGAN):
    """GAN whose generator must let a code, a category and some numbers, be read off each sample.

    A latent is noise, then the category as a one-hot vector, then the numbers. A batch of fakes has the code where
    others have labels.
    """

    name = "infogan"
    information: Tensor
    weight: float
    categories: int
    numbers: int

    def __init__(
        self,
        shape: torch.Size,
        weight: Annotated[float, Range(0.01, 10.0, log=True), "lambda: weight of the mutual information"] = 1.0,
        categories: Annotated[int, Range(2, 100, log=True), "values of the code's category"] = 10,
        numbers: Annotated[int, Range(0, 10), "numbers from U(-1, 1) in the code"] = 2,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, weight=weight, categories=categories, numbers=numbers, **hyperparameters)
        self.register_buffer("information", torch.zeros(()))

    def build_generator(self) -> nn.Module:
        return self.generator_on(self.latent_dim + self.categories + self.numbers)

    def build_discriminator(self) -> nn.Module:
        return self.discriminator_on(self.shape, 1 + self.categories + self.numbers)  # D, and Q on the same features

    def latent(self, n: int, rng: Generator | None = None) -> Tensor:
        z = super().latent(n, rng)
        category = torch.randint(self.categories, (n,), generator=rng, device=z.device)
        numbers = 2 * torch.rand(n, self.numbers, generator=rng, device=z.device) - 1
        return torch.cat([z, functional.one_hot(category, self.categories), numbers], 1)

    def code_paths(self, n: int, rng: Generator | None = None) -> Tensor:
        """Two rows of ``n`` latents along the categories, and two from -1 to 1 along each number."""
        first, rows = self.latent(2, rng)[:, None].repeat(1, n, 1), []
        along = torch.linspace(-1, 1, n, device=first.device)
        for part in range(1 + self.numbers):
            path = first.clone()
            if part == 0:
                shown = torch.arange(n, device=first.device) % self.categories
                path[:, :, self.latent_dim : self.latent_dim + self.categories] = functional.one_hot(
                    shown, self.categories
                ).to(path.dtype)
            else:
                path[:, :, self.latent_dim + self.categories + part - 1] = along
            rows.append(path.flatten(0, 1))
        return torch.cat(rows)

    def fake(self, z: Tensor) -> Batch:
        return Batch(self.generator(z), z[:, self.latent_dim :])

    def judge(self, batch: Batch) -> Tensor:
        return self.discriminator(batch.data)[:, 0]

    def judge_and_read(self, fake: Batch) -> tuple[Tensor, Tensor]:
        """D's logits of generated samples ``(n,)``, and L_I in nats."""
        logits, q_category, q_numbers = self.discriminator(fake.data).split([1, self.categories, self.numbers], 1)
        category, numbers = fake.labels.split([self.categories, self.numbers], 1)  # type: ignore[union-attr]
        log_q = (q_category.log_softmax(1) * category).sum(1)
        # log N(c; q, sigma^2); of U(-1, 1), H = log 2.
        log_q = log_q - (((numbers - q_numbers) / SIGMA).square() + math.log(2 * math.pi * SIGMA**2)).sum(1) / 2
        return logits.flatten(), log_q.mean() + math.log(self.categories) + self.numbers * math.log(2)

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        logits, information = self.judge_and_read(fake)
        real_logits = self.judge(real)
        self.observe(real_logits, logits)
        return self.discriminator_loss(real_logits, logits) - self.weight * information

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        logits, information = self.judge_and_read(fake)
        self.information.copy_(information.detach())
        return self.generator_loss(logits) - self.weight * information

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        return {**super().train_step(batch, clock), "information": self.information.clone()}


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [InfoGAN]
