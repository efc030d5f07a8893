"""Flow matching and RealNVP: equations, inverses, determinants, and solvers against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from ganbench_plugins.flow_matching import FlowMatching, time_features
from ganbench_plugins.realnvp import RealNVP
from torch import Tensor, nn

from ganbench.plugin import Batch, Clock, Unsuitable

POINTS = torch.Size((2,))
CLOCK = Clock(0, 0, 64, 0.0, False)


class Gaussian(nn.Module):
    """The velocity that carries N(0, 1) to N(3, sigma^2) along straight lines: it is known in closed form."""

    sigma = 0.5

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = t[:, None]
        # x_t = (1 - t) x_0 + t x_1; the mean of x_1 - x_0 where x_t = x.
        variance = (1 - t) ** 2 + t**2 * self.sigma**2
        return 3 + (t * self.sigma**2 - (1 - t)) / variance * (x - 3 * t)


def test_the_sampler_carries_noise_to_the_data_s_gaussian_in_steps_of_second_order() -> None:
    variant = FlowMatching(POINTS).eval()
    variant.average = Gaussian()  # type: ignore[assignment]
    z = torch.linspace(-2, 2, 9)[:, None].expand(-1, 2)
    errors = []
    for steps in (2, 4, 8):  # of points four times as many
        variant.steps = steps
        errors.append((variant.generate(z) - (3 + 0.5 * z)).abs().max().item())
    assert errors[0] < 0.02
    assert errors[0] > 3 * errors[1] > 9 * errors[2]  # halving the step quarters the error, at least


def test_the_loss_is_the_paper_s_at_the_points_between(monkeypatch: pytest.MonkeyPatch) -> None:
    variant, seen = FlowMatching(POINTS, sigma_min=0.1), []

    class Nothing(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append((x, t))
            return torch.zeros_like(x) + weight

    weight = nn.Parameter(torch.zeros(()))
    variant.velocity, variant.average = Nothing(), Nothing()  # type: ignore[assignment]
    variant.optimizers["velocity"] = torch.optim.SGD([weight], lr=0.0)
    x_1 = torch.randn(50, 2)
    torch.manual_seed(5)
    loss = variant.train_step(Batch(x_1), CLOCK)["velocity"]
    torch.manual_seed(5)
    x_0, t = torch.randn_like(x_1), (torch.arange(50) + torch.rand(50)) / 50
    ((x, times),) = seen
    torch.testing.assert_close(times, t)
    torch.testing.assert_close(x, (1 - 0.9 * t[:, None]) * x_0 + t[:, None] * x_1)
    torch.testing.assert_close(loss, (x_1 - 0.9 * x_0).square().mean())


def test_times_have_different_features_and_their_averages_are_what_samples() -> None:
    features = time_features(torch.linspace(0, 1, 100))
    assert features.shape == (100, 32) and torch.pdist(features).min() > 0.01
    variant = FlowMatching(torch.Size((1, 8, 8)))
    z = variant.latent(2, torch.Generator().manual_seed(0))
    before = variant.generate(z)
    with torch.no_grad():
        for parameter in variant.velocity.parameters():
            parameter.add_(1.0)
    assert torch.equal(variant.generate(z), before)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 28), (1, 28, 28), (3, 64, 64)])
@pytest.mark.parametrize("width", [12, 32])
def test_the_network_fits_every_shape_and_width(shape: tuple[int, ...], width: int) -> None:
    variant = FlowMatching(torch.Size(shape), width=width)
    assert variant.velocity(torch.randn(2, *shape), torch.rand(2)).shape == (2, *shape)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_the_flow_is_inverted_and_its_likelihood_has_the_jacobian_s_determinant(d: int) -> None:
    torch.manual_seed(0)
    variant = RealNVP(torch.Size((d,))).double()
    for coupling in variant.f:
        nn.init.normal_(coupling.network[-1].weight, 0.0, 0.3)
        nn.init.normal_(coupling.network[-1].bias, 0.0, 0.3)
    z = torch.randn(6, d).double()
    x = variant.generate(z)

    def f(row: Tensor) -> Tensor:
        y = row[None]
        for coupling in variant.f:
            y = coupling(y)[0]
        return y[0]

    torch.testing.assert_close(torch.stack([f(row) for row in x]), z)
    determinants = torch.stack([torch.autograd.functional.jacobian(f, row).slogdet()[1] for row in x])  # type: ignore[operator]
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + determinants
    torch.testing.assert_close(variant.log_likelihood(x), expected)


def test_its_density_is_one_in_all_and_it_learns_two_places() -> None:
    torch.manual_seed(0)
    variant, steps = RealNVP(POINTS, lr=2e-3, width=64), 300
    for i in range(steps):
        x = 0.3 * torch.randn(256, 2) + torch.tensor([2.0, 0.0]) * (2 * torch.randint(2, (256, 1)) - 1)
        loss = variant.train_step(Batch(x), Clock(i, i * 256, steps * 256, i / steps, i == steps - 1))
    entropy = math.log(2) + math.log(2 * math.pi * math.e * 0.3**2)  # of two Gaussians far from each other
    assert loss["negative_log_likelihood"].item() == pytest.approx(entropy, abs=0.15)
    with torch.no_grad():
        axis = torch.linspace(-5, 5, 401)
        grid = torch.cartesian_prod(axis, axis)
        mass = variant.log_likelihood(grid).exp().sum() * (axis[1] - axis[0]) ** 2
        samples = variant.sample(2000, torch.Generator().manual_seed(0))
    assert mass.item() == pytest.approx(1, abs=0.01)
    assert (samples[:, 0] > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert ((samples[:, 0].abs() - 2).abs() < 0.9).float().mean() > 0.9


def test_it_is_for_points() -> None:
    with pytest.raises(Unsuitable, match="realnvp"):
        RealNVP(torch.Size((1, 8, 8)))
