"""StyleGAN's parts against its papers, and what is drawn where."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from ganbench_plugins.stylegan import StyledConv2d, StyleGAN
from torch import Tensor
from torch.nn import functional

from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.serialization import fingerprint, load, save
from ganbench.plugin import GAN, Batch, Clock, Unsuitable
from ganbench.plugin.hyperparameters import hyperparameters
from ganbench.utils.seeding import rng_state, seed_everything, set_rng_state

IMAGES = [(1, 8, 8), (3, 8, 8), (1, 12, 20), (1, 28, 28), (3, 32, 32), (1, 36, 36), (1, 48, 48), (3, 64, 64)]


def build(shape: tuple[int, ...] = (1, 8, 8), seed: int = 1, **hyperparameters) -> StyleGAN:
    seed_everything(seed)
    variant = StyleGAN(torch.Size(shape), **{"width": 4, "latent_dim": 8, **hyperparameters})
    seed_everything(2)
    return variant


def noisy(variant: StyleGAN) -> StyleGAN:
    """Strengths start at zero: give them a value, as training does."""
    with torch.no_grad():
        for layer in variant.average.layers:
            layer.strength.fill_(0.5)
    return variant


def images(i: int, shape: tuple[int, ...] = (1, 8, 8), n: int = 4) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(i)) * 2 - 1


def step(variant: StyleGAN, i: int, real: int | None = None) -> dict[str, Tensor]:
    data = images(i if real is None else real, tuple(variant.shape))
    return variant.train_step(Batch(data), Clock(i, 4 * i, 40, i / 10, i == 9))


@pytest.mark.parametrize("shape", IMAGES, ids=lambda s: "x".join(map(str, s)))
def test_it_trains_and_samples_on_every_shape_it_claims(shape: tuple[int, ...]) -> None:
    variant = build(shape)
    losses = step(variant, 0)
    assert all(torch.isfinite(value) and value.dim() == 0 for value in losses.values())
    noisy(variant).eval()
    state = torch.get_rng_state()
    first, again = (variant.sample(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (3, *shape) and first.dtype == torch.float32 and first.abs().max() <= 1
    assert torch.equal(first, again) and torch.equal(torch.get_rng_state(), state)
    assert variant.score_real(first).shape == (3,)


@pytest.mark.parametrize("resample", [None, "up"])
def test_a_styled_convolution_modulates_and_demodulates_the_weights_of_each_image(resample) -> None:
    """Karras et al. 2020, equations 1 and 3, written out for one image at a time."""
    torch.manual_seed(0)
    layer = StyledConv2d(5, 3, w_dim=4, resample=resample).double()
    with torch.no_grad():
        layer.strength.fill_(0.3)
        layer.convolution.bias.normal_()
    x, w = torch.randn(2, 5, 6, 6, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    sides = 12 if resample else 6
    noise = torch.randn(2, 1, sides, sides, dtype=torch.float64)
    for i, out in enumerate(layer(x, w, noise)):
        s = layer.style(w[i : i + 1])[0]
        weight = layer.convolution.weight * layer.convolution.scale * s[None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        image = functional.interpolate(x[i : i + 1], scale_factor=2.0) if resample else x[i : i + 1]
        y = 2**0.5 * functional.conv2d(image, weight, padding=1)[0]
        y = y + layer.convolution.bias[:, None, None] + 0.3 * noise[i]
        torch.testing.assert_close(out, functional.leaky_relu(y, 0.2))


def test_it_is_built_as_the_paper_says() -> None:
    g = build((1, 28, 28), mapping_depth=8, mapping_rate=0.01).generator
    assert len(g.layers) == 5 and g.styles == 6  # one at 7x7, two each at 14x14 and 28x28, and the colours'
    assert g.constant.shape == (16, 7, 7)
    assert [layer.strength.item() for layer in g.layers] == [0.0] * 5
    assert [n.shape[1:] for n in g.noise(2)] == [(1, s, s) for s in (7, 14, 14, 28, 28)]
    z = torch.randn(5, 8)
    torch.testing.assert_close(g.mapping(z), g.mapping(3 * z))  # z is normalised first
    f = [m for m in g.mapping if hasattr(m, "rate")]
    assert len(f) == 8
    assert all(m.weight.std().item() == pytest.approx(100, rel=0.3) and m.rate == 0.01 for m in f)
    styles = [layer.style(torch.zeros(1, 8)) for layer in g.layers]
    assert all(torch.equal(s, torch.ones_like(s)) for s in styles)  # y = A(w) is biased to 1


def test_mixing_takes_the_layers_after_a_random_point_from_another_latent() -> None:
    variant = build((1, 28, 28), mixing=0.6)
    n, styles = 4000, variant.generator.styles
    first, second = torch.zeros(n, 8), torch.ones(n, 8)
    w = variant.mixed(first, second)
    assert w.shape == (n, styles, 8) and torch.equal(w[..., :1].expand(-1, -1, 8), w)
    w = w[..., 0]
    assert (w.diff(dim=1) >= 0).all() and not w[:, 0].any()  # the coarsest layer is always the first latent's
    counts = torch.bincount(w.sum(1).long(), minlength=styles) / n
    assert counts[0].item() == pytest.approx(0.4, abs=0.04)
    assert counts[1:].numpy() == pytest.approx([0.6 / (styles - 1)] * (styles - 1), abs=0.03)
    assert not build(mixing=0.0).mixed(first, second).any()


def test_training_images_have_two_styles_and_noise_and_scored_ones_do_not() -> None:
    variant = build(mixing=1.0)
    z = variant.latent(3)
    with torch.no_grad():
        assert not torch.allclose(variant.fake(z).data, variant.fake(z).data)  # the second latent is drawn anew
        quiet = variant.generator.synthesise(variant.generator.mapping(z)[:, None].expand(-1, 4, -1))
    state = torch.get_rng_state()
    torch.testing.assert_close(variant.eval().generate(z), quiet)
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_comes_from_rng_in_sample_alone() -> None:
    variant = noisy(build()).eval()
    z = variant.latent(4, torch.Generator().manual_seed(3))
    sampled = variant.sample(4, torch.Generator().manual_seed(3))
    pure = variant.generate(z)
    assert torch.equal(pure, variant.generate(z))
    assert (sampled - pure).abs().mean() > 0.01
    with torch.no_grad():
        for layer in variant.average.layers:
            layer.strength.zero_()
    torch.testing.assert_close(variant.sample(4, torch.Generator().manual_seed(3)), variant.generate(z))


def test_truncation_moves_styles_towards_their_mean() -> None:
    variant = build()
    for i in range(3):
        step(variant, i)
    variant.eval()
    z, g = variant.latent(5), variant.average
    assert g.w_mean.abs().max() > 0
    whole = variant.truncated(z)
    torch.testing.assert_close(whole, g.mapping(z)[:, None].expand(-1, g.styles, -1))
    variant.psi = 0.25
    torch.testing.assert_close(variant.truncated(z), g.w_mean + 0.25 * (whole - g.w_mean))
    variant.psi = 0.0
    same = variant.generate(z)
    torch.testing.assert_close(same, same[:1].expand_as(same))


def test_the_mean_of_w_follows_training_and_is_carried_to_the_average() -> None:
    variant = build()
    g = variant.generator
    z = variant.latent(16)
    expected = 0.99 * g.w_mean + 0.01 * g.mapping(z).mean(0)
    variant.fake(z)
    torch.testing.assert_close(g.w_mean, expected.detach())
    variant.settle(Clock(0, 0, 64, 0.0, False))
    assert torch.equal(variant.average.w_mean, g.w_mean)
    kept = g.w_mean.clone()
    variant.eval().generate(z)
    assert torch.equal(kept, g.w_mean)


def test_r1_is_left_out_of_steps_and_made_up_for() -> None:
    variant = build(gamma=3.0, r1_interval=4)
    real, fake = Batch(images(0)), Batch(images(1))
    x = real.data.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(variant.judge(Batch(x)).sum(), x)
    added = variant.discriminator_phase(real, fake)
    variant.penalised = False
    added = added - variant.discriminator_phase(real, fake)
    torch.testing.assert_close(added, 4 * 3.0 / 2 * gradient.square().sum((1, 2, 3)).mean())
    variant, seen = build(r1_interval=4), []
    for i in range(9):
        seen.append(variant.penalised)
        step(variant, i)
    assert seen == [True, False, False, False] * 2 + [True]


def test_what_is_scored_is_the_average_of_the_generator() -> None:
    variant = build(ema_decay=0.5)
    expected = [p.detach().clone() for p in variant.generator.parameters()]
    for i in range(8):
        step(variant, i)
        decay = min(0.5, (1 + i) / (10 + i))
        expected = [
            decay * a + (1 - decay) * p.detach() for a, p in zip(expected, variant.generator.parameters(), strict=True)
        ]
    for a, e in zip(variant.average.parameters(), expected, strict=True):
        torch.testing.assert_close(a, e)
        assert not a.requires_grad


@pytest.mark.parametrize("stop", [0, 1, 4, 8, 9, 10])
def test_a_run_resumed_at_any_step_ends_in_the_same_bits(stop: int, tmp_path: Path) -> None:
    whole = build()
    for i in range(10):
        step(whole, i)
    first = build()
    for i in range(stop):
        step(first, i)
    save(tmp_path / "c", {"variant": capture(first), "rng": rng_state()})
    second = build(seed=5)
    saved = load(tmp_path / "c")
    restore(second, saved["variant"])
    set_rng_state(saved["rng"])
    assert second.penalised == first.penalised
    assert torch.equal(*(v.eval().sample(3, torch.Generator().manual_seed(0)) for v in (first, second)))
    second.train()
    for i in range(stop, 10):
        step(second, i)
    assert fingerprint(capture(second)) == fingerprint(capture(whole))


def test_real_images_reach_the_generator_through_the_discriminator_alone() -> None:
    ends = []
    for silent, real in ((True, 0), (True, 100), (False, 0), (False, 100)):
        variant = build()
        if silent:
            for module in variant.discriminator:
                module.register_forward_hook(lambda module, inputs, output: output * 0)
        for i in range(3):
            step(variant, i, real + i)
        ends.append(fingerprint(dict(variant.generator.named_parameters())))
    assert ends[0] == ends[1] and ends[2] != ends[3]


def test_each_sample_depends_on_its_own_latent_alone() -> None:
    variant = build().eval()
    z = variant.latent(6)
    torch.testing.assert_close(variant.generate(z)[2:3], variant.generate(z[2:3]), rtol=1e-4, atol=1e-5)


def test_every_trainable_parameter_is_in_one_optimizer_and_every_hyperparameter_is_documented() -> None:
    variant = StyleGAN(torch.Size((1, 8, 8)))
    held = [id(p) for o in variant.optimizers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in variant.parameters() if p.requires_grad)
    assert {o.param_groups[0]["betas"] for o in variant.optimizers.values()} == {(0.0, 0.99)}
    assert StyleGAN.train_step is GAN.train_step  # many seeds may be trained in one computation
    for h in hyperparameters(StyleGAN).values():
        assert h.help and (h.default in h.range if h.range is not None else h.default in get_args(h.type))
        assert getattr(variant, h.name) == h.default


@pytest.mark.parametrize("shape", [(2,), (1, 9, 9), (1, 4, 4), (1, 128, 128)])
def test_it_says_what_does_not_suit_it(shape: tuple[int, ...]) -> None:
    with pytest.raises(Unsuitable, match="stylegan"):
        StyleGAN(torch.Size(shape))
