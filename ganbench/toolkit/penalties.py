"""Penalties on the gradient of a discriminator, differentiable with respect to its weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.func import grad


def squared_gradient(judge: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The squared norm of the discriminator's gradient at each sample: ``|grad_x D(x)|^2``, ``(n,)``.

    Args:
        judge: from samples to logits ``(n,)``, each depending on its own sample alone.
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
