"""Losses by name against their formulas in NumPy, and against torch's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from ganbench import toolkit

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=9) * 3, RNG.normal(size=9) * 3


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# (discriminator's, generator's), each of real and of generated logits
FORMULAS = {
    "logistic": (
        lambda r, f: -np.log(sigmoid(r)).mean() - np.log(1 - sigmoid(f)).mean(),
        lambda r, f: -np.log(sigmoid(f)).mean(),
    ),
    "hinge": (
        lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
        lambda r, f: -f.mean(),
    ),
    "least_squares": (
        lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2,
        lambda r, f: ((f - 1) ** 2).mean() / 2,
    ),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
    "relativistic": (
        lambda r, f: -np.log(sigmoid(r - f)).mean(),
        lambda r, f: -np.log(sigmoid(f - r)).mean(),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_have_the_values_of_their_formulas(name: str) -> None:
    of_d, of_g = FORMULAS[name]
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    assert getattr(toolkit, f"{name}_discriminator_loss")(real, fake).item() == pytest.approx(of_d(REAL, FAKE))
    given = (real, fake) if name == "relativistic" else (fake,)
    assert getattr(toolkit, f"{name}_generator_loss")(*given).item() == pytest.approx(of_g(REAL, FAKE))


def test_the_logistic_loss_is_torch_s_cross_entropy_and_stays_finite_where_a_logarithm_would_not() -> None:
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    entropy = functional.binary_cross_entropy_with_logits
    expected = entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(toolkit.logistic_discriminator_loss(real, fake), expected)
    sure = torch.tensor([200.0])
    assert toolkit.logistic_discriminator_loss(-sure, sure).item() == 400


def test_only_logits_within_the_margin_move_a_hinge() -> None:
    real = torch.tensor([0.5, 3.0], requires_grad=True)
    toolkit.hinge_discriminator_loss(real, torch.tensor([-2.0])).backward()
    assert real.grad is not None and real.grad.tolist() == [-0.5, 0.0]


def test_relativistic_losses_are_log_2_where_both_sides_are_alike() -> None:
    same = torch.from_numpy(REAL)
    for loss in (toolkit.relativistic_discriminator_loss, toolkit.relativistic_generator_loss):
        assert loss(same, same).item() == pytest.approx(math.log(2))
