"""What sets each loss variant apart: closed forms, constraints that hold, and what D can see."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from ganbench_plugins.cgan import CGAN
from ganbench_plugins.dragan import DRAGAN
from ganbench_plugins.lsgan import LSGAN
from ganbench_plugins.minibatch import Closeness, Minibatch
from ganbench_plugins.minimax import Minimax
from ganbench_plugins.pacgan import PacGAN
from ganbench_plugins.r1 import R1
from ganbench_plugins.relativistic import Relativistic
from ganbench_plugins.sngan import SNGAN
from ganbench_plugins.unrolled import Unrolled
from ganbench_plugins.wgan import WGAN
from ganbench_plugins.wgan_gp import WGANGP
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganbench.plugin import GAN, Batch, Clock
from ganbench.toolkit import BackboneGAN, spectrally_normalised, squared_gradient, unit_gradient_penalty
from ganbench.utils.seeding import seed_everything

IMAGE = torch.Size((1, 8, 8))


def images(n: int = 16, seed: int = 0) -> Batch:
    return Batch(torch.rand(n, *IMAGE, generator=torch.Generator().manual_seed(seed)) * 2 - 1)


def step(variant: GAN, fraction: float = 0.0) -> dict[str, Tensor]:
    return dict(variant.train_step(images(), Clock(0, 0, 64, fraction, False)))


def linear(variant: GAN, norm: float) -> GAN:
    """The variant with D(x) = w.x, |w| = norm: its gradient is w everywhere."""
    w = torch.randn(64, generator=torch.Generator().manual_seed(1))
    d = nn.Linear(64, 1, bias=False)
    with torch.no_grad():
        d.weight.copy_(norm * w / w.norm())
    variant.discriminator = nn.Sequential(nn.Flatten(), d)
    return variant


@pytest.mark.parametrize(("cls", "weight", "share"), [(WGANGP, 10.0, 1.0), (DRAGAN, 10.0, 1.0), (R1, 10.0, 0.5)])
def test_penalties_have_their_closed_form_where_the_gradient_is_known(cls: type[GAN], weight: float, share: float):
    for norm in (0.5, 1.0, 3.0):
        variant = linear(cls(IMAGE, **{"gamma" if cls is R1 else "penalty": weight}), norm)
        real, fake = images(seed=1), images(seed=2)
        extra = variant.discriminator_phase(real, fake) - variant.discriminator_loss(
            variant.judge(real), variant.judge(fake)
        )
        expected = norm**2 if cls is R1 else (norm - 1) ** 2
        assert extra.item() == pytest.approx(weight * share * expected, rel=1e-4, abs=1e-5)


def test_a_penalty_s_gradient_with_respect_to_weights_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    d = nn.Sequential(nn.Linear(3, 5), nn.Softplus(), nn.Linear(5, 1)).double()
    x = torch.randn(4, 3, dtype=torch.float64)

    def value() -> Tensor:
        return squared_gradient(lambda x: d(x).flatten(), x).mean()

    value().backward()
    w = d[0].weight
    assert w.grad is not None
    for i, j in ((0, 0), (2, 1), (4, 2)):
        difference = 0.0
        for sign in (1, -1):
            with torch.no_grad():
                w[i, j] += sign * 1e-5
                difference += sign * value().item()
                w[i, j] -= sign * 1e-5
        assert w.grad[i, j].item() == pytest.approx(difference / 2e-5, rel=1e-6)


def test_a_dead_network_gets_a_finite_penalty() -> None:
    d = nn.Linear(3, 1)
    nn.init.zeros_(d.weight)
    unit_gradient_penalty(lambda x: d(x).flatten(), torch.randn(4, 3)).backward()
    assert d.weight.grad is not None and torch.isfinite(d.weight.grad).all()


def test_the_saturating_loss_starves_g_where_d_is_sure() -> None:
    """At a logit of -8 the gradient is sigmoid(-8) = 0.0003; with the labels flipped it is 0.9997."""
    slopes = {}
    for cls in (Minimax, LSGAN, R1):
        logit = torch.tensor([-8.0], requires_grad=True)
        cls(IMAGE).generator_loss(logit).backward()
        slopes[cls.name] = -logit.grad.item()  # type: ignore[union-attr]
    assert slopes["minimax"] == pytest.approx(1 / (1 + math.exp(8)))
    assert slopes["r1"] == pytest.approx(1 - 1 / (1 + math.exp(8)))
    assert slopes["lsgan"] == pytest.approx(9)  # the farther, the stronger


def test_least_squares_are_zero_at_the_labels() -> None:
    lsgan, one, zero = LSGAN(IMAGE), torch.ones(4), torch.zeros(4)
    assert lsgan.discriminator_loss(one, zero).item() == lsgan.generator_loss(one).item() == 0
    assert lsgan.discriminator_loss(zero, one).item() == pytest.approx(1)
    assert lsgan.decision_threshold == 0.5


def test_the_critic_s_weights_stay_clipped_and_its_loss_is_a_difference_of_means() -> None:
    wgan = WGAN(IMAGE, clip=0.03)
    for _ in range(3):
        step(wgan)
    assert max(w.abs().max().item() for w in wgan.discriminator.parameters()) <= 0.03
    assert wgan.discriminator_loss(torch.tensor([3.0, 5.0]), torch.tensor([1.0])).item() == -3
    assert wgan.decision_threshold is None


def test_relativistic_losses_do_not_see_a_constant_added_to_d() -> None:
    variant = Relativistic(IMAGE)
    real, fake = images(seed=1), images(seed=2)
    before = variant.discriminator_phase(real, fake), variant.generator_phase(real, fake)
    with torch.no_grad():
        variant.discriminator[-1].bias += 3  # type: ignore[index,union-attr]
    after = variant.discriminator_phase(real, fake), variant.generator_phase(real, fake)
    torch.testing.assert_close(before, after)
    r, f = variant.judge(real), variant.judge(fake)
    torch.testing.assert_close(after[1], -torch.log(torch.sigmoid(f - r)).mean())


def largest_singular_values(network: nn.Module) -> list[float]:
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return [torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() for m in layers]


def test_spectral_normalisation_divides_by_the_largest_singular_value() -> None:
    seed_everything(0)
    sngan = SNGAN(IMAGE)
    before = [m.u.clone() for m in sngan.modules() if hasattr(m, "u")]
    for _ in range(20):
        sngan.judge(images())
    assert largest_singular_values(sngan.discriminator.eval()) == pytest.approx([1.0] * 3, rel=1e-3)
    frozen = [m.u.clone() for m in sngan.modules() if hasattr(m, "u")]
    assert not all(map(torch.equal, before, frozen))
    sngan.judge(images())
    assert all(map(torch.equal, frozen, [m.u for m in sngan.modules() if hasattr(m, "u")]))  # eval changes nothing


def test_spectral_normalisation_agrees_with_torch_s_once_both_have_converged() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 6, 3)
    ours, theirs = spectrally_normalised(copy.deepcopy(plain)), spectral_norm(copy.deepcopy(plain))
    x = torch.randn(2, 3, 5, 5)
    for _ in range(200):
        a, b = ours(x), theirs(x)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    a.square().sum().backward()
    b.square().sum().backward()
    gradients = [m.parametrizations.weight.original.grad for m in (ours, theirs)]  # type: ignore[union-attr]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_a_pack_holds_each_row_and_those_after_it() -> None:
    pacgan = PacGAN(IMAGE, pack=3)
    assert pacgan.discriminator[0].weight.shape[1] == 3  # type: ignore[index,union-attr]
    batch = images(6)
    logits = pacgan.judge(batch)
    pack = torch.cat([batch.data[i : i + 1] for i in (4, 5, 0)], 1)  # cyclically
    torch.testing.assert_close(logits[4], pacgan.discriminator(pack).flatten()[0])
    changed = batch.data.clone()
    changed[0] = 0
    moved = (pacgan.judge(Batch(changed)) - logits).abs() > 1e-7
    assert moved.tolist() == [True, False, False, False, True, True]


def test_closeness_is_one_for_copies_and_zero_for_strangers() -> None:
    torch.manual_seed(0)
    layer = Closeness(features=4, kernels=5, dimensions=3)
    copies, strangers = torch.ones(6, 4), torch.arange(6.0)[:, None].expand(6, 4) * 100
    assert torch.equal(layer(copies), torch.cat([copies, torch.ones(6, 5)], 1))
    assert layer(strangers)[:, 4:].max().item() < 1e-6
    half = torch.cat([copies[:3], 1000 + strangers[:3]])
    torch.testing.assert_close(layer(half)[0, 4:], torch.full((5,), 2 / 5))  # two copies among five others


def test_minibatch_d_scores_a_row_by_its_company() -> None:
    torch.manual_seed(0)
    variant = Minibatch(IMAGE)
    varied = images(16).data
    same = varied[:1].expand(16, *IMAGE)
    assert (variant.judge(Batch(varied))[0] - variant.judge(Batch(same))[0]).abs() > 1e-4


def test_cgan_makes_the_class_it_is_asked_for(digits_trained: Any) -> None:
    """Seconds of training: the classifier of the digits finds the class that z names."""
    from ganbench.extractors.classifier import ganbench_extractors

    classify = next(e for e in ganbench_extractors() if e.name == "digits-cnn")
    variant = digits_trained(CGAN, 19_200)
    z = variant.latent(500, torch.Generator().manual_seed(0))
    with torch.no_grad():
        fake = variant.fake(z)
        found = classify((fake.data + 1) * 127.5)[1].argmax(1)
        assert fake.labels is not None and fake.labels.unique().tolist() == list(range(10))
        assert torch.equal(fake.labels, z[:, variant.latent_dim :].argmax(1))
        assert (found == fake.labels).float().mean() > 0.8
        given = variant.judge(fake)
        marginal = variant.judge(Batch(fake.data))
        assert (marginal >= given).all()  # real under some y is no less than real under this one


def test_unrolling_is_k_gradient_steps_of_d_and_g_s_gradient_flows_through_them() -> None:
    torch.manual_seed(0)
    variant = Unrolled(torch.Size((2,)), unroll_steps=3, unroll="gradient", unroll_lr=0.2)
    real = Batch(torch.randn(8, 2))
    z = variant.latent(8)
    before = copy.deepcopy(variant.discriminator.state_dict())
    gradient = torch.autograd.grad(variant.generator_phase(real, variant.fake(z)), list(variant.generator.parameters()))
    assert all(torch.equal(before[k], v) for k, v in variant.discriminator.state_dict().items())

    def answered(weights: list[Tensor], x: Tensor) -> Tensor:  # D by hand: two hidden layers
        for i in range(0, 6, 2):
            x = nn.functional.linear(x, weights[i], weights[i + 1])
            x = nn.functional.leaky_relu(x, 0.2) if i < 4 else x
        return x.flatten()

    weights, fake = list(variant.discriminator.parameters()), variant.fake(z).data
    for _ in range(3):
        loss = variant.discriminator_loss(answered(weights, real.data), answered(weights, fake))
        steps = torch.autograd.grad(loss, weights, create_graph=True)
        weights = [w - 0.2 * s for w, s in zip(weights, steps, strict=True)]
    value = -variant.discriminator_loss(answered(weights, real.data), answered(weights, fake))
    torch.testing.assert_close(gradient, torch.autograd.grad(value, list(variant.generator.parameters())))


def test_unrolling_adam_takes_the_steps_that_d_s_optimizer_would_and_g_s_gradient_flows_through_them() -> None:
    torch.manual_seed(0)
    variant = Unrolled(torch.Size((2,)), unroll_steps=3, unroll="adam", lr=0.01).double()
    real = Batch(torch.randn(8, 2, dtype=torch.float64))
    fakes = torch.randn(8, 2, dtype=torch.float64)

    def value(data: Tensor) -> Tensor:
        return variant.generator_phase(real, Batch(data))

    def taken(data: Tensor) -> Tensor:
        """The same by torch's own optimizer, on a copy."""
        copied = copy.deepcopy(variant)
        for _ in range(3):
            copied.update("discriminator", copied.discriminator_phase(real, Batch(data)))
        return -copied.discriminator_phase(real, Batch(data))

    for _ in range(3):  # the first without moments
        before = copy.deepcopy(variant.optimizers["discriminator"].state_dict())
        x = fakes.clone().requires_grad_()
        loss = value(x)
        torch.testing.assert_close(loss, taken(fakes), rtol=1e-9, atol=1e-9)
        slope = torch.autograd.grad(loss, x)[0]
        along = torch.randn_like(fakes)
        apart = (taken(fakes + 1e-6 * along) - taken(fakes - 1e-6 * along)) / 2e-6
        torch.testing.assert_close((slope * along).sum(), apart, rtol=1e-4, atol=1e-7)
        after = variant.optimizers["discriminator"].state_dict()
        torch.testing.assert_close(after, before, rtol=0, atol=0)
        variant.update("discriminator", variant.discriminator_phase(real, Batch(fakes)))


def test_step_sizes_fall_to_nothing_in_the_last_share_of_the_budget() -> None:
    class Plain(BackboneGAN):
        name = "plain"

    variant = Plain(IMAGE, lr=1e-3, decay=0.5)
    for fraction, expected in ((0.0, 1e-3), (0.4, 1e-3), (0.5, 1e-3), (0.75, 5e-4), (0.99, 2e-5)):
        step(variant, fraction)
        rates = [group["lr"] for o in variant.optimizers.values() for group in o.param_groups]
        assert rates == pytest.approx([expected] * 2)
