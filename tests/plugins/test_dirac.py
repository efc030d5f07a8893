"""The Dirac-GAN moves as theory says, to the digits of float32."""

from __future__ import annotations

import math

import pytest
import torch
from ganbench_plugins.planted_dirac import Dirac

from ganbench.plugin import Batch, Clock, Unsuitable

H = 0.1


class Exact(Dirac):
    """Latents come in opposite pairs, so that the mean of the samples is theta itself."""

    def latent(self, n, rng=None):
        half = super().latent(n // 2, rng)
        return torch.cat([half, -half])


def path(steps, **hyperparameters):
    """(theta, psi) after each step, ``(steps + 1, 2, 2)``, on data that are zero."""
    variant = Exact(torch.Size((2,)), lr=H, **hyperparameters)
    places = []
    for step in range(steps + 1):
        places.append(torch.stack([variant.generator.theta.detach(), variant.discriminator.weight.detach()[0]]).clone())
        variant.train_step(Batch(torch.zeros(8, 2)), Clock(step, 8 * step, 8 * steps, 0.0, False))
    return torch.stack(places).double()


def radius(places):
    return places.square().sum(dim=(1, 2)).sqrt()


def test_simultaneous_steps_grow_by_the_same_factor_each():
    growth = radius(path(200, updates="simultaneous"))
    assert growth[1:] / growth[:-1] == pytest.approx(torch.full((200,), math.sqrt(1 + H**2)).numpy(), rel=1e-6)


def test_alternating_steps_stay_on_an_ellipse_and_come_around():
    places = path(200)
    theta, psi = places[:, 0, 0], places[:, 1, 0]
    kept = theta**2 + psi**2 - H * theta * psi
    assert kept.numpy() == pytest.approx(1.0, rel=1e-5)
    assert theta.min() < -0.99 and theta[150:].max() > 0.9  # it swings through, and comes back


def test_a_penalty_leads_to_the_equilibrium():
    assert radius(path(300, gamma=1.0))[-1] < 1e-5


def test_it_is_a_game_of_points():
    with pytest.raises(Unsuitable, match="points"):
        Dirac(torch.Size((1, 8, 8)))
