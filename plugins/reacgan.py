"""ReACGAN: an auxiliary classifier that does not collapse.

Kang, Shim, Cho and Park 2021, "Rebooting ACGAN: Auxiliary Classifier GANs with Stable Training": D's features are
projected onto the unit sphere, which bounds the classifier's gradient (section 3.1), and the data-to-data cross-entropy
(equation 8) compares each sample with the proxy of its class and with the samples of other classes in the batch. Pairs
that are right beyond a margin add no gradient (section 3.2). Hinge losses about the source.

Step sizes and their decay were set by hand, and a search kept them (results/tuning). The authors' code for CIFAR-10
takes 2.8e-4 for batches of 128, with lambda = 0.5, tau = 0.5 and m_p = 0.98.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganbench.plugin import Batch, Range, Variant, hookimpl
from ganbench.toolkit import ConditionalGAN


class SphereHead(nn.Module):
    """From features ``(n, d)`` to source logits ``(n,)``, embeddings on the sphere ``(n, e)``, and class proxies."""

    def __init__(self, features: int, classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.source = nn.Linear(features, 1)
        self.projection = nn.Linear(features, embedding_dim)
        self.proxies = nn.Parameter(torch.randn(classes, embedding_dim))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = functional.normalize(self.projection(h), dim=1)
        return self.source(h).flatten(), f, functional.normalize(self.proxies, dim=1)


def data_to_data_cross_entropy(f: Tensor, proxies: Tensor, y: Tensor, temperature: float, margin: float) -> Tensor:
    """The D2D-CE loss (equation 8), averaged over the batch.

    Args:
        f: embeddings of unit length ``(n, e)``.
        proxies: of the classes, of unit length ``(classes, e)``.
        y: classes ``(n,)``.
        temperature: tau, above 0.
        margin: m_p: a similarity with the own proxy above it counts as m_p; one with a sample of another class counts
            only above m_n = 1 - m_p.
    """
    own = (f * proxies[y]).sum(1)
    easy_positive = -functional.relu(margin - own) / temperature
    negative = functional.relu(f @ f.T - (1 - margin)) / temperature
    other = y[:, None] != y
    scores = torch.cat([easy_positive[:, None], negative.masked_fill(~other, -torch.inf)], 1)
    return (scores.logsumexp(1) - easy_positive).mean()


class ReACGAN(ConditionalGAN):
    """Class-conditional GAN whose classifier compares samples with each other, on a sphere and within margins."""

    name = "reacgan"
    weight: float
    temperature: float
    margin: float
    embedding_dim: int

    def __init__(
        self,
        shape: torch.Size,
        classes: int,
        weight: Annotated[float, Range(0.01, 10.0, log=True), "lambda: weight of the classifier's loss"] = 0.5,
        temperature: Annotated[float, Range(0.05, 2.0, log=True), "tau: small ones weigh the hardest pairs"] = 0.5,
        margin: Annotated[float, Range(0.5, 1.0), "m_p: similarity with the class's proxy that is enough"] = 0.98,
        embedding_dim: Annotated[int, Range(8, 512, log=True), "dimension of the sphere's space"] = 64,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(
            shape,
            classes,
            weight=weight,
            temperature=temperature,
            margin=margin,
            embedding_dim=embedding_dim,
            **hyperparameters,
        )

    def build_head(self, features: int) -> nn.Module:
        return SphereHead(features, self.classes, self.embedding_dim)

    def judge(self, batch: Batch) -> Tensor:
        return self.discriminator(batch.data)[0]

    def scored(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits of the source ``(n,)``, and the D2D-CE loss of the batch."""
        logits, f, proxies = self.discriminator(batch.data)
        assert batch.labels is not None
        return logits, data_to_data_cross_entropy(f, proxies, batch.labels, self.temperature, self.margin)

    def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
        (real_logits, classified), fake_logits = self.scored(real), self.judge(fake)
        return self.discriminator_loss(real_logits, fake_logits) + self.weight * classified

    def generator_phase(self, real: Batch, fake: Batch) -> Tensor:
        logits, classified = self.scored(fake)
        return self.generator_loss(logits) + self.weight * classified


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [ReACGAN]
