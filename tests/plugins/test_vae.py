"""The variational autoencoder: its bound, what its noise means, and the space it learns."""

from __future__ import annotations

import math

import pytest
import torch
from ganbench_plugins.vae import VAE, kl_divergence
from torch.distributions import Independent, Normal
from torch.distributions.kl import kl_divergence as reference

from ganbench.plugin import Batch, Clock
from ganbench.utils.seeding import seed_everything


def test_the_kl_divergence_is_that_of_gaussians() -> None:
    mu = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    log_variance = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    q = Independent(Normal(mu, (log_variance / 2).exp()), 1)
    p = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    torch.testing.assert_close(kl_divergence(mu, log_variance), reference(q, p))
    assert kl_divergence(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


@pytest.mark.parametrize(("shape", "scale"), [((1, 8, 8), 0.5), ((2,), 0.05)])
def test_the_losses_are_the_negative_bound_up_to_a_constant(shape: tuple[int, ...], scale: float) -> None:
    """With weights all zero q(z|x) is the prior and the decoder's mean is zero: everything is known."""
    variant = VAE(torch.Size(shape), noise=0.5)
    with torch.no_grad():
        for parameter in variant.parameters():
            parameter.zero_()
    x = torch.rand(4, *shape) * 2 - 1
    losses = variant.train_step(Batch(x), Clock(0, 0, 8, 0.0, False))
    assert losses["kl"].item() == pytest.approx(0, abs=1e-6)
    log_p = Independent(Normal(torch.zeros(shape), torch.full(shape, scale)), len(shape)).log_prob(x)
    constant = -math.prod(shape) * (math.log(scale) + math.log(2 * math.pi) / 2)
    assert losses["reconstruction"].item() == pytest.approx(constant - log_p.mean().item(), rel=1e-4)


def test_epsilon_is_drawn_from_the_posterior_with_a_gradient_to_its_spread() -> None:
    variant = VAE(torch.Size((2,)), latent_dim=2)
    variant.train_step(Batch(torch.randn(16, 2)), Clock(0, 0, 32, 0.0, False))
    spread = variant.encoder[-1].weight.grad[2:]  # rows of log sigma^2
    assert torch.isfinite(spread).all() and spread.abs().max() > 0


def test_it_learns_a_line_that_noise_hides() -> None:
    """Points on a segment with noise across it: decoded means lie on the segment and cover it."""
    seed_everything(0)
    variant = VAE(torch.Size((2,)), noise=0.5, latent_dim=2)
    for i in range(800):
        along, across = torch.rand(64, 1) * 2 - 1, torch.randn(64, 1) * 0.02
        variant.train_step(Batch(torch.cat([along, along / 2 + across], 1)), Clock(i, 64 * i, 51200, i / 800, i == 799))
    variant.eval()
    with torch.no_grad():
        x = variant.sample(1000, torch.Generator().manual_seed(0))
    residual = x[:, 1] - x[:, 0] / 2
    assert residual.std() < 0.05
    assert x[:, 0].std() == pytest.approx(1 / math.sqrt(3), rel=0.15)
