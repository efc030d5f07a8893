"""InfoGAN: its bound against closed forms and torch's distributions, the code in the latent, and what it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ganbench_plugins.infogan import InfoGAN
from torch import Tensor, nn
from torch.distributions import Categorical, Normal

from ganbench.plugin import Batch, Clock, Variant

IMAGE = torch.Size((1, 8, 8))
BATCH = Batch(torch.rand(16, *IMAGE, generator=torch.Generator().manual_seed(0)) * 2 - 1)


class Answers(nn.Module):
    """A discriminator that says what it is given, whatever it sees."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, x: Tensor) -> Tensor:
        return self.answers


def test_the_bound_is_torch_s_log_probability_of_the_code_plus_its_entropy() -> None:
    torch.manual_seed(0)
    variant = InfoGAN(IMAGE, categories=5, numbers=3)
    fake = variant.fake(variant.latent(16))
    answers = torch.randn(16, 1 + 5 + 3)
    variant.discriminator = Answers(answers)
    logits, information = variant.judge_and_read(fake)
    assert torch.equal(logits, answers[:, 0])
    assert fake.labels is not None
    category = Categorical(logits=answers[:, 1:6]).log_prob(fake.labels[:, :5].argmax(1))
    numbers = Normal(answers[:, 6:], 0.5).log_prob(fake.labels[:, 5:]).sum(1)
    expected = (category + numbers).mean() + math.log(5) + 3 * math.log(2)
    torch.testing.assert_close(information, expected)


def test_a_sure_q_that_is_right_reaches_the_entropy_of_the_category_and_one_that_guesses_none() -> None:
    variant = InfoGAN(IMAGE, categories=10, numbers=0)
    fake = variant.fake(variant.latent(16))
    assert fake.labels is not None
    for q, expected in ((1000 * fake.labels, math.log(10)), (torch.zeros(16, 10), 0.0)):
        variant.discriminator = Answers(torch.cat([torch.zeros(16, 1), q], 1))
        assert variant.judge_and_read(fake)[1].item() == pytest.approx(expected, abs=1e-5)


def test_both_networks_minimise_the_game_minus_lambda_times_the_bound() -> None:
    torch.manual_seed(0)
    variant = InfoGAN(IMAGE, weight=0.7)
    fake = variant.fake(variant.latent(16))
    logits, information = variant.judge_and_read(fake)
    d = variant.discriminator_loss(variant.judge(BATCH), logits) - 0.7 * information
    torch.testing.assert_close(variant.discriminator_phase(BATCH, fake), d)
    torch.testing.assert_close(variant.generator_phase(BATCH, fake), variant.generator_loss(logits) - 0.7 * information)


def test_a_latent_carries_one_category_and_numbers_from_minus_1_to_1() -> None:
    variant = InfoGAN(torch.Size((2,)), categories=4, numbers=2)
    z = variant.latent(8000, torch.Generator().manual_seed(0))
    code, numbers = z[:, variant.latent_dim : -2], z[:, -2:]
    assert z.shape == (8000, variant.latent_dim + 6) and torch.equal(code.sum(1), torch.ones(8000))
    assert code.mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.02)
    assert -1 <= numbers.min() < -0.99 and 0.99 < numbers.max() <= 1
    assert numbers.var().item() == pytest.approx(1 / 3, rel=0.03)


def test_along_a_path_one_part_of_the_code_changes() -> None:
    variant = InfoGAN(IMAGE, categories=10, numbers=2)
    paths = variant.code_paths(8, torch.Generator().manual_seed(0)).unflatten(0, (6, 8))
    assert paths.shape == (6, 8, variant.latent_dim + 12)
    for row in range(6):
        moves = (paths[row] != paths[row, :1]).any(0).nonzero().flatten() - variant.latent_dim
        assert set(moves.tolist()) == ({*range(8)} if row < 2 else {10 + (row - 2) // 2})
    assert paths[0, :, variant.latent_dim :][:, :10].argmax(1).tolist() == list(range(8))
    assert paths[2, :, -2].tolist() == pytest.approx(torch.linspace(-1, 1, 8).tolist())


def test_the_bound_is_reported_and_grows(digits_trained: Callable[..., Any]) -> None:
    variant = digits_trained(InfoGAN, 64_000)
    z = variant.latent(500, torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, information = variant.judge_and_read(variant.fake(z))
        read = variant.discriminator(variant.fake(z).data)[:, 1:11].argmax(1)
    # At most log 10 = 2.3 of the category, and log 2 - log N(0; 0, 1/4) = 0.47 of each number.
    assert information > 2.5 and variant.information > 2.5
    assert (read == z[:, variant.latent_dim :][:, :10].argmax(1)).float().mean() > 0.9
    losses = variant.train().train_step(BATCH, Clock(0, 0, 64, 0.0, False))
    assert set(losses) == {"discriminator", "generator", "information"}
    assert isinstance(variant, Variant)
