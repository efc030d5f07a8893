"""The contract of Variant and GAN: two phases, what each may touch, and what an author may override."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ganbench.plugin import GAN, Batch, Clock, NotApplicable, Unsuitable, Variant

CLOCK = Clock(0, 0, 640, 0.0, False)


class Tiny(GAN):
    name = "tiny"

    def build_generator(self):
        return nn.Sequential(nn.Linear(self.latent_dim, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    def build_discriminator(self):
        return nn.Linear(2, 1)


@pytest.fixture
def tiny() -> Tiny:
    torch.manual_seed(0)
    return Tiny(torch.Size([2]), latent_dim=4, lr=0.01)


def parameters(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


def test_losses_are_binary_cross_entropy_with_flipped_labels(tiny: Tiny) -> None:
    real, fake = torch.tensor([0.3, -1.2]), torch.tensor([0.7, 2.0])
    bce = nn.functional.binary_cross_entropy_with_logits
    expected = bce(real, torch.ones(2)) + bce(fake, torch.zeros(2))
    torch.testing.assert_close(tiny.discriminator_loss(real, fake), expected)
    torch.testing.assert_close(tiny.generator_loss(fake), bce(fake, torch.ones(2)))
    assert float(tiny.generator_loss(torch.zeros(3))) == pytest.approx(math.log(2))


def test_phase_one_leaves_the_generator_and_phase_two_the_discriminator(tiny: Tiny) -> None:
    seen = []

    def update(role: str, loss: torch.Tensor) -> None:
        before = {name: parameters(getattr(tiny, name)) for name in ("generator", "discriminator")}
        Variant.update(tiny, role, loss)
        moved = [name for name in before if not torch.equal(before[name], parameters(getattr(tiny, name)))]
        seen.append((role, moved))

    tiny.update = update  # type: ignore[method-assign]
    tiny.train_step(Batch(torch.randn(16, 2)), CLOCK)
    assert seen == [("discriminator", ["discriminator"]), ("generator", ["generator"])]
    assert all(p.grad is not None for p in tiny.parameters())


def test_an_optimizer_that_zeroes_gradients_in_its_own_way_is_asked_to(tiny: Tiny) -> None:
    asked = []

    class Own(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            asked.append(set_to_none)
            super().zero_grad(set_to_none)

    tiny.optimizers["discriminator"] = Own(tiny.discriminator.parameters(), lr=0.1)
    for _ in range(2):
        tiny.update("discriminator", tiny.discriminator(torch.ones(1, 2)).sum())
    assert asked == [True, True]
    assert all(bool((p.grad == 1).all()) for p in tiny.discriminator.parameters())  # of one update, not of both


def test_an_update_fills_only_its_own_gradients(tiny: Tiny) -> None:
    for p in tiny.parameters():
        p.grad = None
    tiny.update("generator", tiny.generator_phase(Batch(torch.randn(4, 2)), tiny.fake(tiny.latent(4))))
    assert all(p.grad is None for p in tiny.discriminator.parameters())
    assert all(p.grad is not None for p in tiny.generator.parameters())


def test_the_generator_moves_at_every_nth_step() -> None:
    variant = Tiny(torch.Size([2]), latent_dim=4, critic_steps=3)
    keys = [set(variant.train_step(Batch(torch.randn(8, 2)), Clock(i, 0, 1, 0.0, False))) for i in range(6)]
    both, one = {"discriminator", "generator"}, {"discriminator"}
    assert keys == [one, one, both, one, one, both]


def test_hyperparameters_are_attributes_before_the_networks_are_built() -> None:
    class Wide(Tiny):
        def __init__(self, shape, width: int = 5, **hyperparameters):
            super().__init__(shape, width=width, **hyperparameters)

        def build_discriminator(self):
            return nn.Sequential(nn.Linear(2, self.width), nn.Linear(self.width, 1))

    assert Wide(torch.Size([2]), width=7).discriminator[0].out_features == 7


def test_sampling_takes_all_randomness_from_rng(tiny: Tiny) -> None:
    tiny.eval()
    state = torch.get_rng_state()
    first, again = (tiny.sample(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again) and torch.equal(torch.get_rng_state(), state)
    assert tiny.score_real(first).shape == (5,)


def test_one_column_of_logits_is_flattened(tiny: Tiny) -> None:
    assert tiny.judge(Batch(torch.randn(6, 2))).shape == (6,)


def test_features_of_d_are_the_input_of_the_last_linear_layer_that_runs(tiny: Tiny) -> None:
    tiny.discriminator = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 1))
    x = torch.randn(5, 2)
    expected = tiny.discriminator[:2](x)
    tiny.discriminator.classes, tiny.discriminator.unused = nn.Embedding(3, 6), nn.Linear(2, 2)
    tiny.discriminator.forward = lambda x: nn.Sequential(*tiny.discriminator[:3])(x)
    assert torch.equal(tiny.discriminator_features(x), expected)
    tiny.discriminator = nn.Sequential(nn.Flatten(), nn.AvgPool1d(2))
    with pytest.raises(NotApplicable, match="no linear layer"):
        tiny.discriminator_features(x)


def test_absent_methods_say_what_is_missing() -> None:
    class Nothing(Variant):
        name = "nothing"

    nothing = Nothing(torch.Size([2]))
    assert nothing.generate is None and nothing.score_real is None
    with pytest.raises(NotImplementedError, match="generate"):
        nothing.sample(3)
    with pytest.raises(NotImplementedError, match="train_step"):
        nothing.train_step(Batch(torch.zeros(1, 2)), CLOCK)
    assert issubclass(Unsuitable, ValueError)
