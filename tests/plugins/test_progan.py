"""ProGAN grows as its paper says, and its growth is part of the state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ganbench_plugins.progan import ProGAN
from torch import Tensor
from torch.nn import functional

from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.serialization import fingerprint, load, save
from ganbench.plugin import Batch, Clock, Unsuitable
from ganbench.plugin.hyperparameters import hyperparameters
from ganbench.utils.seeding import rng_state, seed_everything, set_rng_state

IMAGES = [(1, 8, 8), (3, 8, 8), (1, 12, 20), (1, 28, 28), (3, 32, 32), (1, 36, 36), (1, 48, 48), (3, 64, 64)]


def build(shape: tuple[int, ...] = (1, 8, 8), seed: int = 1, **hyperparameters) -> ProGAN:
    seed_everything(seed)
    variant = ProGAN(torch.Size(shape), width=4, latent_dim=8, **hyperparameters)
    seed_everything(2)
    return variant


def images(i: int, shape: tuple[int, ...] = (1, 8, 8), n: int = 4) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(i)) * 2 - 1


def step(variant: ProGAN, i: int, steps: int = 10, real: int | None = None) -> dict[str, Tensor]:
    data = images(i if real is None else real, tuple(variant.shape))
    return variant.train_step(Batch(data), Clock(i, 4 * i, 4 * steps, i / steps, i == steps - 1))


@pytest.mark.parametrize("shape", IMAGES, ids=lambda s: "x".join(map(str, s)))
def test_it_trains_and_samples_at_every_stage(shape: tuple[int, ...]) -> None:
    variant = build(shape, growth=0.8)
    stages = []
    for i in (0, 3, 7, 9):
        losses = step(variant, i)
        assert all(torch.isfinite(value) and value.dim() == 0 for value in losses.values())
        stages.append(variant.stage)
        variant.eval()
        state = torch.get_rng_state()
        first, again = (variant.sample(3, torch.Generator().manual_seed(1)) for _ in range(2))
        assert first.shape == (3, *shape) and first.dtype == torch.float32 and first.abs().max() <= 1
        assert torch.equal(first, again) and torch.equal(torch.get_rng_state(), state)
        assert variant.score_real(first).shape == (3,)
        variant.train()
    assert stages[0] == 0 and stages[-1] == len(variant.generator.blocks) and stages == sorted(stages)


def test_the_schedule_stays_at_a_resolution_as_long_as_the_next_is_faded_in() -> None:
    variant = build((1, 28, 28), growth=0.5)
    seen = []
    for i in range(20):
        step(variant, i, 20)
        seen.append((variant.stage, round(variant.alpha, 6)))
    growing = [(0, 1.0)] * 3 + [(1, 0.2), (1, 0.6)] + [(1, 1.0)] * 3 + [(2, 0.2), (2, 0.6)]
    assert seen == growing + [(2, 1.0)] * 10


@pytest.mark.parametrize("stage", [1, 2])
def test_fading_begins_with_the_lower_resolution_and_ends_with_the_whole_network(stage: int) -> None:
    g = build((1, 28, 28)).generator
    z = torch.randn(3, 8)
    lower = g(z, stage - 1, 1.0)
    assert lower.shape[2] == 7 * 2 ** (stage - 1)
    torch.testing.assert_close(g(z, stage, 0.0), functional.interpolate(lower, scale_factor=2.0))
    whole = g(z, stage, 1.0)
    torch.testing.assert_close(g(z, stage, 1 - 1e-7), whole, atol=1e-5, rtol=0)
    half = (functional.interpolate(lower.atanh(), scale_factor=2.0) + whole.atanh()) / 2
    torch.testing.assert_close(g(z, stage, 0.5), half.tanh(), atol=1e-5, rtol=1e-4)
    assert (whole - g(z, stage, 0.0)).abs().mean() > 0.01


@pytest.mark.parametrize("stage", [1, 2])
def test_the_discriminator_fades_as_the_generator_does(stage: int) -> None:
    d = build((1, 28, 28)).discriminator
    x = images(0, (1, 7 * 2**stage, 7 * 2**stage))
    torch.testing.assert_close(d(x, stage, 0.0), d(functional.avg_pool2d(x, 2), stage - 1, 1.0))
    torch.testing.assert_close(d(x, stage, 1 - 1e-7), d(x, stage, 1.0), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(d(x, stage, 0.0), d(x, stage, 1.0))


def test_images_are_averaged_down_to_the_stage_and_samples_repeated_up() -> None:
    variant = build((1, 28, 28)).eval()
    x = images(0, (1, 28, 28))
    expected = variant.discriminator(functional.avg_pool2d(x, 4), 0, 1.0).flatten()
    torch.testing.assert_close(variant.score_real(x), expected)
    made = variant.generate(variant.latent(2))
    assert torch.equal(made, made[..., ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3))


def test_real_images_fade_in_as_the_generated_ones_do() -> None:
    variant = build(gamma=1.0)
    variant.stage, variant.alpha, variant.penalised = 1, 0.25, False
    x, fake = images(0), Batch(images(1))
    blurred = functional.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = variant.discriminator_loss(variant.judge(Batch(0.75 * blurred + 0.25 * x)), variant.judge(fake))
    torch.testing.assert_close(variant.discriminator_phase(Batch(x), fake), expected)


def test_layers_that_have_not_come_in_are_not_moved() -> None:
    variant = build()
    before = {name: p.detach().clone() for name, p in variant.named_parameters()}
    for i in range(2):
        step(variant, i)
    same = {name for name, p in variant.named_parameters() if torch.equal(p, before[name])}
    of_stage_1 = {n for n in before if ".blocks.0." in n or ".to_image.1." in n or ".from_image.1." in n}
    assert same == of_stage_1


def test_r1_is_left_out_of_steps_and_made_up_for() -> None:
    variant = build(gamma=3.0, r1_interval=4)
    variant.stage, variant.alpha = 1, 1.0
    real, fake = Batch(images(0)), Batch(images(1))
    x = real.data.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(variant.judge(Batch(x)).sum(), x)
    added = variant.discriminator_phase(real, fake)
    variant.penalised = False
    added = added - variant.discriminator_phase(real, fake)
    torch.testing.assert_close(added, 4 * 3.0 / 2 * gradient.square().sum((1, 2, 3)).mean())
    seen = []
    for i in range(9):
        step(variant, i)
        seen.append(variant.penalised)
    assert seen == [True, False, False, False] * 2 + [True]


def test_what_is_scored_is_the_average_of_the_generator() -> None:
    variant = build(ema_decay=0.5)
    expected = [p.detach().clone() for p in variant.generator.parameters()]
    for i in range(10):
        step(variant, i)
        decay = min(0.5, (1 + i) / (10 + i))
        expected = [
            decay * a + (1 - decay) * p.detach() for a, p in zip(expected, variant.generator.parameters(), strict=True)
        ]
    for a, e in zip(variant.average.parameters(), expected, strict=True):
        torch.testing.assert_close(a, e)
        assert not a.requires_grad
    z = variant.latent(2)
    trained = variant.fake(z).data
    torch.testing.assert_close(variant.eval().generate(z), variant.average(z, 1, 1.0))
    assert not torch.allclose(variant.generate(z), trained)


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 4, 5, 9, 10])
def test_a_run_resumed_at_any_stage_ends_in_the_same_bits(stop: int, tmp_path: Path) -> None:
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
    assert (second.stage, second.alpha, second.penalised) == (first.stage, first.alpha, first.penalised)
    z = second.latent(3, torch.Generator().manual_seed(0))
    assert torch.equal(first.eval().generate(z), second.eval().generate(z))  # alpha counts before any more steps
    second.train()
    for i in range(stop, 10):
        step(second, i)
    assert fingerprint(capture(second)) == fingerprint(capture(whole))


def test_real_images_reach_the_generator_through_the_discriminator_alone() -> None:
    ends = []
    for silent, real in ((True, 0), (True, 100), (False, 0), (False, 100)):
        variant = build()
        if silent:
            for module in (m for m in variant.discriminator.modules() if not list(m.children())):
                module.register_forward_hook(lambda module, inputs, output: output * 0)
        for i in (0, 3, 4, 8):
            step(variant, i, real=real + i)
        ends.append(fingerprint(dict(variant.generator.named_parameters())))
    assert ends[0] == ends[1] and ends[2] != ends[3]


@pytest.mark.parametrize(("stage", "alpha"), [(0, 1.0), (1, 0.3), (1, 1.0)])
def test_each_sample_depends_on_its_own_latent_alone(stage: int, alpha: float) -> None:
    variant = build().eval()
    variant.stage, variant.alpha = stage, alpha
    z = variant.latent(6)
    torch.testing.assert_close(variant.generate(z)[2:3], variant.generate(z[2:3]), rtol=1e-4, atol=1e-5)


def test_every_trainable_parameter_is_in_one_optimizer_and_every_hyperparameter_is_documented() -> None:
    variant = ProGAN(torch.Size((1, 8, 8)))
    held = [id(p) for o in variant.optimizers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in variant.parameters() if p.requires_grad)
    assert {o.param_groups[0]["betas"] for o in variant.optimizers.values()} == {(0.0, 0.99)}
    for h in hyperparameters(ProGAN).values():
        assert h.help and h.range is not None and h.default in h.range
        assert getattr(variant, h.name) == h.default


@pytest.mark.parametrize("shape", [(2,), (1, 9, 9), (1, 4, 4), (1, 128, 128)])
def test_it_says_what_does_not_suit_it(shape: tuple[int, ...]) -> None:
    with pytest.raises(Unsuitable, match="progan"):
        ProGAN(torch.Size(shape))
