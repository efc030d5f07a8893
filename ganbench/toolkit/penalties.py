"""Penalties on the gradient of a discriminator, differentiable with respect to its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad


def squared_gradient(judge: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The squared norm of the discriminator's gradient at each sample: ``|grad_x D(x)|^2``, ``(n,)``.

    Args:
        judge: from samples to logits ``(n,)``. Where a logit depends on other samples of its batch too, as with
            `MinibatchStdDev`, the gradient is that of the sum of all logits.
        x: samples ``(n, *shape)``.
    """
    return grad(lambda samples: judge(samples).sum())(x).flatten(1).square().sum(1)


def logits_and_squared_gradient(judge: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The logits and the squared norms of their gradients, each ``(n,)``, from one pass over the samples."""

    def summed(samples: Tensor) -> tuple[Tensor, Tensor]:
        logits = judge(samples)
        return logits.sum(), logits

    gradient, logits = grad(summed, has_aux=True)(x)
    return logits, gradient.flatten(1).square().sum(1)


def unit_gradient_penalty(judge: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient penalty of WGAN-GP at ``x``: ``E (|grad_x D(x)| - 1)^2`` (Gulrajani et al. 2017, equation 3)."""
    # The square root has no derivative at 0, where a dead network is.
    return ((squared_gradient(judge, x) + 1e-12).sqrt() - 1).square().mean()


def r1_penalty(judge: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """R1, half the squared gradient norm at real data: ``E |grad_x D(x)|^2 / 2`` (Mescheder et al. 2018, equation 9).

    Multiply it by gamma.
    """
    return squared_gradient(judge, real).mean() / 2


def r2_penalty(judge: Callable[[Tensor], Tensor], fake: Tensor) -> Tensor:
    """R2, the same at generated samples (Mescheder et al. 2018, equation 10).

    For both of one batch in one pass, as in R3GAN, see `logits_and_squared_gradient`.
    """
    return squared_gradient(judge, fake).mean() / 2


def wgan_gp_penalty(judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP's penalty, at random points between real samples and fakes (Gulrajani et al. 2017, Algorithm 1)."""
    epsilon = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device)
    return unit_gradient_penalty(judge, epsilon * real + (1 - epsilon) * fake)


def dragan_penalty(judge: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """DRAGAN's penalty, at real samples moved by U(0, 1) times half their standard deviation.

    Kodali et al. 2017, "On Convergence and Stability of GANs", move them by Gaussian noise; this noise is that of their
    published code.
    """
    return unit_gradient_penalty(judge, real + 0.5 * real.std() * torch.rand_like(real))


def lazy_weight(step: int, interval: int) -> int:
    """The weight of a penalty that acts at every ``interval``-th step only: ``interval`` there, otherwise 0.

    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.1. Its mean over the steps is
    1. Compute the penalty only where the weight is not 0: that is what is saved.
    """
    return 0 if step % interval else interval
