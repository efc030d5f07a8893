"""The duality gap on games whose gap is known, and of a variant that must not notice."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from ganbench_plugins.cgan import CGAN
from ganbench_plugins.minimax import Minimax
from ganbench_plugins.noise import Noise
from ganbench_plugins.unrolled import Unrolled
from ganbench_plugins.vanilla import Vanilla
from ganbench_plugins.wgan import WGAN
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from ganbench.extractors.pixels import Pixels
from ganbench.harness.checkpoint import capture
from ganbench.harness.evaluation import Evaluator
from ganbench.harness.metric_values import apply
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import fingerprint
from ganbench.harness.telemetry import Telemetry
from ganbench.metrics import MetricError, NotApplicable, duality_gap
from ganbench.metrics.duality import DualityGap, best_response
from ganbench.plugin import GAN, Batch, Clock
from ganbench.plugin.interfaces import Dataset

POINT = torch.Size((2,))
RATE = 0.1


class Constant(nn.Module):
    """G(z) = theta: all samples are one point."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 2)


class Dirac(GAN):
    """The bilinear game M = psi.x - psi.theta, played with plain gradient steps."""

    name = "dirac"

    def build_generator(self) -> nn.Module:
        return Constant()

    def build_discriminator(self) -> nn.Module:
        return nn.Linear(2, 1, bias=False)

    def build_optimizer(self, network: nn.Module) -> Optimizer:
        return SGD(network.parameters(), lr=RATE)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits.mean() - real_logits.mean()

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()


class Free(Vanilla):
    """G adds a shift to two of its latents times a scale: a normal distribution, which it can learn exactly."""

    def build_generator(self) -> nn.Module:
        return nn.Linear(2, 2)

    def place(self, scale: float, shift: float = 0.0) -> Free:
        with torch.no_grad():
            self.generator.weight.copy_(scale * torch.eye(2))
            self.generator.bias.fill_(shift)
            for parameter in self.discriminator[-1][-1].parameters():
                parameter.zero_()  # it knows nothing
        return self


def dirac(theta: tuple[float, float], psi: tuple[float, float]) -> Dirac:
    game = Dirac(POINT)
    with torch.no_grad():
        game.generator.theta.copy_(torch.tensor(theta))
        game.discriminator.weight.copy_(torch.tensor([psi]))
    return game


def points(n: int, seed: int) -> Batch:
    return Batch(torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize(("theta", "psi"), [((0, 0), (0, 0)), ((1, -2), (0, 0)), ((0, 0), (3, 1)), ((1, -2), (3, 1))])
@pytest.mark.parametrize("steps", [1, 7])
def test_the_bilinear_game_has_its_closed_form(theta: tuple[int, int], psi: tuple[int, int], steps: int) -> None:
    """Real data at 0: k steps of size r take psi to psi - k r theta, and theta to theta + k r psi."""
    zeros = Batch(torch.zeros(20, 2))
    gap = duality_gap(dirac(theta, psi), zeros, zeros, 8, steps=steps)
    assert gap == pytest.approx(steps * RATE * (np.dot(theta, theta) + np.dot(psi, psi)), rel=1e-5, abs=1e-12)


def test_only_one_network_answers() -> None:
    game = dirac((1, -2), (3, 1))
    for role, other in (("discriminator", "generator"), ("generator", "discriminator")):
        player = best_response(game, role, Batch(torch.zeros(20, 2)), 8, 3)
        for moved, network in ((True, role), (False, other)):
            pairs = zip(getattr(player, network).parameters(), getattr(game, network).parameters(), strict=True)
            assert all(torch.equal(a, b) is not moved for a, b in pairs)


def test_a_generator_of_the_truth_has_none_and_a_collapsed_one_has_much() -> None:
    torch.manual_seed(0)
    variant = Free(POINT, latent_dim=2, width=64)
    finding, scoring = points(2000, 1), points(2000, 2)

    def gap(scale: float, shift: float = 0.0) -> float:
        return duality_gap(variant.place(scale, shift), finding, scoring, 100, steps=100)

    truth, narrow, collapsed = gap(1.0), gap(0.5), gap(0.0)
    assert abs(truth) < 0.02
    assert 0.2 < narrow < 0.6 < collapsed < 1.4  # log 4 = 1.39 is all there is to gain
    assert 0.6 < gap(1.0, 3.0) < 1.4


def test_the_value_is_the_same_whatever_loss_the_generator_has() -> None:
    """One game, two ways to train G: where D knows nothing, its answer alone decides."""
    torch.manual_seed(0)
    same = {"latent_dim": 2, "width": 16, "lr": 1e-3, "beta1": 0.5}
    games = [type("Game", (Free, base), {"name": "game"})(POINT, **same) for base in (Vanilla, Minimax)]
    games[1].load_state_dict(games[0].state_dict())
    finding, scoring = points(400, 1), points(400, 2)
    first, second = (duality_gap(game.place(0.3), finding, scoring, 50, steps=30) for game in games)
    assert first == pytest.approx(second, rel=1e-6)


def test_a_critic_keeps_its_constraint() -> None:
    torch.manual_seed(0)
    game = WGAN(POINT, latent_dim=2, width=8, clip=0.05)
    player = best_response(game, "discriminator", points(64, 1), 32, 5)
    assert all(p.abs().max() <= 0.05 for p in player.discriminator.parameters())
    assert any(p.abs().max() > 0.05 for p in game.discriminator.parameters())


def test_penalties_are_part_of_the_value() -> None:
    class Taxed(Dirac):
        def discriminator_phase(self, real: Batch, fake: Batch) -> Tensor:
            return super().discriminator_phase(real, fake) + self.discriminator.weight.square().sum()

    game, zeros = dirac((0, 0), (3, 1)), Batch(torch.zeros(20, 2))
    game.__class__ = Taxed
    steps = 4  # psi shrinks by 1 - 2 r a step
    expected = 10 * (1 - (1 - 2 * RATE) ** (2 * steps)) + steps * RATE * 10
    assert duality_gap(game, zeros, zeros, 8, steps=steps) == pytest.approx(expected, rel=1e-5)


def test_step_sizes_that_fell_to_0_in_training_do_not_hide_the_gap() -> None:
    torch.manual_seed(0)
    variant = Free(POINT, latent_dim=2, width=16).place(0.0)
    finding, scoring = points(400, 1), points(400, 2)
    before = duality_gap(variant, finding, scoring, 50, steps=30)
    for optimizer in variant.optimizers.values():
        optimizer.param_groups[0]["lr"] = 0.0
    assert duality_gap(variant, finding, scoring, 50, steps=30) == before > 0.01


@pytest.mark.parametrize("kind", [Vanilla, Unrolled])  # unrolled's G reads the optimizer of D
def test_seeded_and_everything_is_left_alone(kind: type[GAN]) -> None:
    torch.manual_seed(0)
    variant = kind(torch.Size((1, 8, 8)), latent_dim=4, width=8)
    images = Batch(torch.rand(40, 1, 8, 8) * 2 - 1)
    variant.train_step(images, Clock(0, 0, 64, 0.0, False))
    variant.generator.eval()
    before = fingerprint(capture(variant)), torch.get_rng_state(), np.random.get_state()[1].copy()
    flags = [module.training for module in variant.modules()]
    grads = [p.grad for p in variant.parameters()]
    kept = [None if grad is None else grad.clone() for grad in grads]
    with torch.no_grad():
        gap = duality_gap(variant, images, images, 16, steps=3)
        assert not torch.is_grad_enabled()
    assert gap == duality_gap(variant, images, images, 16, steps=3)
    assert gap != duality_gap(variant, images, images, 16, steps=3, rng=1)
    assert fingerprint(capture(variant)) == before[0] and [m.training for m in variant.modules()] == flags
    assert torch.equal(torch.get_rng_state(), before[1]) and np.array_equal(np.random.get_state()[1], before[2])
    assert all(p.grad is grad for p, grad in zip(variant.parameters(), grads, strict=True))
    assert all(a is None or torch.equal(a, b) for a, b in zip(kept, grads, strict=True))


def test_in_a_trial_it_is_computed_at_the_end_from_the_held_out_split_alone(monkeypatch) -> None:
    monkeypatch.setattr("ganbench.metrics.duality.duality_gap.__defaults__", (3, 2020))

    def load(split: str):
        rng = np.random.default_rng(len(split))
        return np.uint8(rng.integers(0, 256, size=(60, 1, 8, 8))), np.arange(60) % 3

    dataset = Dataset(name="squares", shape=(1, 8, 8), classes=3, budget_images=1, load=load)
    torch.manual_seed(0)
    variant = CGAN(torch.Size((1, 8, 8)), classes=3, latent_dim=4, width=8)
    real = RealData(dataset, Pixels(), 60)

    def evaluate(last: bool, size: int = 16) -> float | None:
        evaluator = Evaluator(real, [DualityGap()], 0, size)
        return evaluator(variant, Telemetry(variant), 0, [], last=last)[0]["values"].get("duality_gap")

    assert evaluate(last=False) is None
    found = evaluate(last=True)
    assert isinstance(found, float) and found == evaluate(last=True)
    assert evaluate(last=True, size=31) is None  # no two batches
    again = Evaluator(real, [DualityGap()], 0, 16).rescore(copy.deepcopy(variant), 0, [])
    assert again.values == {"duality_gap": found}


def test_not_without_a_game(make_evidence) -> None:
    x = np.zeros((5, 2))
    for variant in (None, Noise(POINT)):
        assert apply([DualityGap()], make_evidence(x, x, x, variant=variant)).values == {"duality_gap": None}
    game, zeros = dirac((1, 1), (1, 1)), Batch(torch.zeros(20, 2))
    with pytest.raises(MetricError, match="scoring needs at least one batch of 8, not 7"):
        duality_gap(game, zeros, Batch(torch.zeros(7, 2)), 8)
    with pytest.raises(MetricError, match="steps"):
        duality_gap(game, zeros, zeros, 8, steps=0)
    with torch.no_grad():
        game.generator.theta.fill_(1e38)
    with pytest.raises(NotApplicable, match="diverged"):
        duality_gap(game, zeros, zeros, 8)
