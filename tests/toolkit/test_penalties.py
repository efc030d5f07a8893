"""Penalties by name, against their closed forms for a discriminator whose gradient is known everywhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ganbench.toolkit import dragan_penalty, lazy_weight, r1_penalty, r2_penalty, wgan_gp_penalty

REAL, FAKE = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("norm", [0.5, 1.0, 3.0])
def test_penalties_of_a_linear_discriminator(norm: float) -> None:
    w = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3 * norm
    judge = lambda x: x @ w  # noqa: E731
    assert r1_penalty(judge, REAL).item() == pytest.approx(norm**2 / 2)
    assert r2_penalty(judge, FAKE).item() == pytest.approx(norm**2 / 2)
    assert wgan_gp_penalty(judge, REAL, FAKE).item() == pytest.approx((norm - 1) ** 2)
    assert dragan_penalty(judge, REAL).item() == pytest.approx((norm - 1) ** 2)


def test_r1_and_r2_are_half_the_squared_gradient_of_a_square() -> None:
    square = lambda x: x.square().sum(1) / 2  # gradient x  # noqa: E731
    torch.testing.assert_close(r1_penalty(square, REAL), REAL.square().sum(1).mean() / 2)
    torch.testing.assert_close(r2_penalty(square, FAKE), FAKE.square().sum(1).mean() / 2)


def test_where_penalties_look() -> None:
    """WGAN-GP between each pair, DRAGAN within half a standard deviation above the data; both drawn by torch."""
    seen: list[Tensor] = []

    def judge(x: Tensor) -> Tensor:
        seen.append(x)
        return x.sum(1)

    def places(penalty, *data: Tensor) -> Tensor:
        seen.clear()
        torch.manual_seed(0)
        penalty(judge, *data)
        return seen[0]

    # Of zeros and ones, where a point lies is how much of the fake is in it: the same in each coordinate.
    mixed = places(wgan_gp_penalty, torch.zeros(16, 3), torch.ones(16, 3))
    torch.manual_seed(0)
    torch.testing.assert_close(torch.zeros(16, 3) + mixed, (1 - torch.rand(16, 1)).expand(16, 3))
    moved = places(dragan_penalty, REAL)
    torch.manual_seed(0)
    torch.testing.assert_close(REAL + 0 * moved, moved - 0.5 * REAL.std() * torch.rand_like(REAL))


@pytest.mark.parametrize("interval", [1, 3, 8])
def test_a_lazy_penalty_weighs_as_much_as_one_at_every_step(interval: int) -> None:
    weights = [lazy_weight(step, interval) for step in range(4 * interval)]
    assert sum(weights) == len(weights)
    assert [step for step, weight in enumerate(weights) if weight] == list(range(0, len(weights), interval))
