"""The restricted Boltzmann machine against enumeration of all its states."""

from __future__ import annotations

import itertools

import pytest
import torch
from ganbench_plugins.rbm import RBM

from ganbench.plugin import Batch, Clock, Unsuitable
from ganbench.utils.seeding import seed_everything

SHAPE = torch.Size((1, 2, 3))


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)))


def machine(scale: float = 1.0, **hyperparameters: float) -> RBM:
    seed_everything(0)
    variant = RBM(SHAPE, hidden=4, **hyperparameters)
    with torch.no_grad():
        for parameter in variant.parameters():
            parameter.copy_(torch.randn(parameter.shape) * scale)
    return variant


def joint(variant: RBM) -> torch.Tensor:
    """p(v, h) over all states, ``(64, 16)``."""
    v, h = states(6), states(4)
    log = (v @ variant.b)[:, None] + (h @ variant.c)[None] + v @ variant.W.T @ h.T
    return torch.softmax(log.flatten(), 0).reshape(64, 16).detach()


def test_free_energy_and_conditionals_are_those_of_the_joint_distribution() -> None:
    variant = machine()
    v, h, p = states(6), states(4), joint(machine())
    torch.testing.assert_close(torch.softmax(-variant.free_energy(v), 0), p.sum(1), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(variant.hidden_given_visible(v), p @ h / p.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)
    given_hidden = p.T @ v / p.sum(0)[:, None]
    torch.testing.assert_close(variant.visible_given_hidden(h), given_hidden, rtol=1e-4, atol=1e-6)


def test_the_chain_has_the_model_as_its_stationary_distribution() -> None:
    variant = machine(0.7, gibbs_steps=50)
    p = joint(variant)
    images = variant.sample(40_000, torch.Generator().manual_seed(0))
    mean = ((images + 1) / 2).flatten(1).mean(0)
    torch.testing.assert_close(mean, p.sum(1) @ states(6), rtol=0, atol=0.01)


def test_the_gradient_is_that_of_contrastive_divergence() -> None:
    """dF/dW = -p(h|v) v': the step is <v h>_data - <v h>_chain, up the likelihood."""
    variant = machine(0.3, lr=0.1, momentum=0.0)
    data = torch.bernoulli(torch.full((200, 6), 0.8), generator=torch.Generator().manual_seed(1))
    before = {name: p.detach().clone() for name, p in variant.named_parameters()}
    seed_everything(2)
    chain = variant.gibbs(data, 1)
    expected = {
        "W": (variant.hidden_given_visible(data).T @ data - variant.hidden_given_visible(chain).T @ chain) / 200,
        "b": (data - chain).mean(0),
        "c": (variant.hidden_given_visible(data) - variant.hidden_given_visible(chain)).mean(0),
    }
    seed_everything(2)
    variant.train_step(Batch((data * 2 - 1).reshape(200, *SHAPE)), Clock(0, 0, 400, 0.0, False))
    for name, p in variant.named_parameters():
        torch.testing.assert_close((p - before[name]) / 0.1, expected[name].detach(), rtol=1e-3, atol=1e-5)


def test_training_raises_the_likelihood_of_the_data() -> None:
    """Two patterns: after training they hold most of the probability, which is summed exactly."""
    variant = machine(0.01, lr=0.5)
    patterns = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0.0, 0, 0, 1, 1, 1]])
    batch = Batch((patterns.repeat(32, 1) * 2 - 1).reshape(64, *SHAPE))
    for i in range(400):
        variant.train_step(batch, Clock(i, 64 * i, 64 * 400, i / 400, i == 399))
    index = [int("".join(str(int(x)) for x in row), 2) for row in patterns]
    shares = joint(variant).sum(1)[index]
    assert shares.sum() > 0.8 and shares.min() > 0.25


def test_intensities_drive_the_hidden_units_unrounded() -> None:
    variant = machine()
    grey = torch.full((20_000, 6), 0.3)
    chain = variant.gibbs(grey, 1, torch.Generator().manual_seed(0))
    h = variant.hidden_given_visible(grey[:1])[0]
    weights = torch.stack([torch.where(s.bool(), h, 1 - h).prod() for s in states(4)])
    torch.testing.assert_close(chain.mean(0), weights @ variant.visible_given_hidden(states(4)), rtol=0, atol=0.02)


def test_points_do_not_suit_it() -> None:
    with pytest.raises(Unsuitable, match="rbm"):
        RBM(torch.Size((2,)))
