"""The networks of benchmarks/paper_networks.py are those that papers' authors published."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ganbench.plugin import Batch, Clock, Unsuitable

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from paper_networks import Maxout, PacGAN2D, Unrolled2D

POINTS = torch.Size((2,))


def weights_of(network: nn.Module) -> list[tuple[int, ...]]:
    """Outputs and inputs of each linear layer."""
    return [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer, x = Maxout(3, 2, 5), torch.randn(7, 3)
    pieces = x @ layer.linear.weight.T + layer.linear.bias
    expected = torch.stack([pieces[:, :5].max(1).values, pieces[:, 5:].max(1).values], 1)
    torch.testing.assert_close(layer(x), expected)


def test_pacgan_has_the_networks_of_its_paper() -> None:
    gan = PacGAN2D(POINTS)
    assert weights_of(gan.generator) == [(400, 2), (400, 400), (400, 400), (400, 400), (2, 400)]
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in gan.generator) == 4
    assert weights_of(gan.discriminator) == [(1000, 4), (1000, 200), (1000, 200), (1, 200)]
    spread = torch.cat([p.flatten() for p in gan.discriminator.parameters() if p.dim() == 2]).detach().std()
    assert float(spread) == pytest.approx(0.02, rel=0.02)


def test_each_point_is_in_one_pack() -> None:
    gan, x = PacGAN2D(POINTS, pack=3), torch.randn(8, 2, requires_grad=True)  # two packs; the last two points are left
    logits = gan.judge_packs(x)
    assert logits.shape == (2,)
    reached = torch.autograd.grad(logits[1], x)[0].abs().sum(1) > 0
    assert reached.tolist() == [False] * 3 + [True] * 3 + [False] * 2
    assert gan.judge(Batch(x)).shape == (8,)  # each point leads one
    torch.testing.assert_close(gan.judge(Batch(x[:6]))[::3], gan.judge_packs(x))
    alone = PacGAN2D(POINTS, pack=1)
    torch.testing.assert_close(alone.judge(Batch(x)), alone.judge_packs(x))


def test_unrolled_has_the_networks_and_step_sizes_of_its_notebook() -> None:
    gan = Unrolled2D(POINTS)
    assert weights_of(gan.generator) == [(128, 256), (128, 128), (2, 128)]
    assert weights_of(gan.discriminator) == [(128, 2), (128, 128), (1, 128)]
    middle = gan.discriminator[2].weight
    torch.testing.assert_close(middle @ middle.T, 1.4**2 * torch.eye(128), atol=1e-4, rtol=0)
    rates = {role: optimizer.param_groups[0]["lr"] for role, optimizer in gan.optimizers.items()}
    assert rates == {"generator": 1e-3, "discriminator": 1e-4}


def test_without_steps_g_meets_d_as_it_is() -> None:
    gan, real, fake = Unrolled2D(POINTS, unroll_steps=0), Batch(torch.randn(16, 2)), Batch(torch.randn(16, 2))
    torch.testing.assert_close(gan.generator_phase(real, fake), -gan.discriminator_phase(real, fake))


@pytest.mark.parametrize("steps", [0, 2])
def test_simultaneous_updates_start_from_the_same_weights(steps: int) -> None:
    """D moves as where steps take turns, and G by the gradient that it has before D moves."""
    real, clock = Batch(torch.randn(16, 2)), Clock(0, 0, 640, 0.0, False)
    gan = Unrolled2D(POINTS, unroll_steps=steps, updates="simultaneous")
    before = [p.clone() for p in (*gan.generator.parameters(), *gan.discriminator.parameters())]
    torch.manual_seed(1)
    fake = gan.fake(gan.latent(16))
    weights = list(gan.generator.parameters())
    gradient = torch.autograd.grad(gan.generator_phase(real, fake), weights)
    slopes = torch.autograd.grad(gan.discriminator_phase(real, fake), list(gan.discriminator.parameters()))
    torch.manual_seed(1)
    gan.train_step(real, clock)
    after = (*weights, *gan.discriminator.parameters())
    for w, old, slope in zip(after, before, (*gradient, *slopes), strict=True):
        torch.testing.assert_close(w.grad, slope)
        assert torch.equal(torch.sign(old - w), torch.sign(slope))  # Adam's first step is against the sign
    with pytest.raises(Unsuitable, match="critic_steps=1"):
        Unrolled2D(POINTS, updates="simultaneous", critic_steps=2)


@pytest.mark.parametrize("variant", [PacGAN2D, Unrolled2D])
def test_both_train_on_points_alone(variant: type[PacGAN2D | Unrolled2D]) -> None:
    gan = variant(POINTS)
    before = [p.clone() for p in gan.generator.parameters()]
    losses = gan.train_step(Batch(torch.randn(32, 2)), Clock(0, 0, 640, 0.0, False))
    assert set(losses) == {"discriminator", "generator"}
    assert any(not torch.equal(a, b) for a, b in zip(before, gan.generator.parameters(), strict=True))
    with pytest.raises(Unsuitable, match="points in the plane"):
        variant(torch.Size((1, 8, 8)))
