"""Losses of GANs as functions of logits, named as in their papers; each takes the mean over the batch.

A discriminator's loss takes logits of real and of generated samples, each ``(n,)``, larger for more real. A
generator's loss takes those of generated samples, and for relativistic losses of real ones too.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def logistic_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Binary cross-entropy with real as 1 and fake as 0: ``E softplus(-D(x)) + E softplus(D(G(z)))``.

    Goodfellow et al. 2014, equation 1, on logits.
    """
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def logistic_generator_loss(fake_logits: Tensor) -> Tensor:
    """Binary cross-entropy with fakes labelled as real, the non-saturating loss: ``E softplus(-D(G(z)))``.

    Goodfellow et al. 2014, section 3.
    """
    return functional.softplus(-fake_logits).mean()


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The hinge loss: ``E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))``; logits beyond the margin have no gradient.

    Lim and Ye 2017; Miyato et al. 2018, equation 16.
    """
    return functional.relu(1 - real_logits).mean() + functional.relu(1 + fake_logits).mean()


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """What the hinge loss leaves the generator: ``-E D(G(z))`` (Miyato et al. 2018, equation 17)."""
    return -fake_logits.mean()


def least_squares_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Squared distances to the labels 1 and 0, halved: ``E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2``.

    Mao et al. 2017, equation 9.
    """
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def least_squares_generator_loss(fake_logits: Tensor) -> Tensor:
    """Half the squared distance of fakes to the label 1: ``E (D(G(z)) - 1)^2 / 2`` (Mao et al. 2017, equation 9)."""
    return (fake_logits - 1).square().mean() / 2


def wasserstein_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """A critic's loss, ``E D(G(z)) - E D(x)``.

    Of 1-Lipschitz critics the best has minus the Wasserstein distance, and no other has less.

    Arjovsky et al. 2017, Algorithm 1.
    """
    return fake_logits.mean() - real_logits.mean()


def wasserstein_generator_loss(fake_logits: Tensor) -> Tensor:
    """``-E D(G(z))`` (Arjovsky et al. 2017, Algorithm 1)."""
    return -fake_logits.mean()


def relativistic_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The relativistic pairing loss: each real logit shall exceed that of its fake, ``E softplus(D(G(z)) - D(x))``.

    Jolicoeur-Martineau 2018, section 4.1; Huang et al. 2024, equation 2.
    """
    return functional.softplus(fake_logits - real_logits).mean()


def relativistic_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The same with the two sides exchanged: ``E softplus(D(x) - D(G(z)))``."""
    return functional.softplus(real_logits - fake_logits).mean()
