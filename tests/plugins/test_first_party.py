"""Every first-party variant: the shapes it claims, the contract's properties, and real learning."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

import pytest
import torch
from torch import Tensor

from ganbench.conformance import Check, Subject, parametrize_with_checks
from ganbench.plugin import GAN, Batch, Clock, Unsuitable, Variant
from ganbench.plugin.hyperparameters import takes_classes
from ganbench.utils.seeding import seed_everything

IMAGES = [(1, 12, 20)]  # beside those of the conformance checks
POINTS = (2,)
ONLY_IMAGES = {"dcgan", "progan", "projected", "rbm", "stylegan"}
ONLY_POINTS = {"planted-dirac", "realnvp"}
BATCH, STEPS = 8, 8


def offered() -> dict[str, type[Variant]]:
    """Every variant behind an entry point of ganbench's own plugins."""
    points = [p for p in entry_points(group="ganbench") if p.value.startswith("ganbench_plugins.")]
    modules = {p.value: import_module(p.value) for p in points}
    return {cls.name: cls for m in modules.values() for cls in m.ganbench_variants()}


VARIANTS = offered()
GANS = sorted(name for name, cls in VARIANTS.items() if issubclass(cls, GAN))
LEARNERS = sorted(name for name, cls in VARIANTS.items() if cls.role == "variant" and name not in ONLY_POINTS)


def home(name: str) -> tuple[int, ...]:
    """A shape that suits the variant."""
    return POINTS if name in ONLY_POINTS else (1, 8, 8)


def suits(name: str, shape: tuple[int, ...]) -> bool:
    return name not in (ONLY_IMAGES if shape == POINTS else ONLY_POINTS)


def build(name: str, shape: tuple[int, ...] | None = None) -> Variant:
    cls, shape = VARIANTS[name], shape or home(name)
    seed_everything(1)
    variant = cls(torch.Size(shape), **({"classes": 10} if takes_classes(cls) else {}))
    seed_everything(2)
    return variant


def batch(i: int, shape: tuple[int, ...], rows: int = BATCH, shift: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(1000 * shift + i)
    labels = torch.randint(10, (rows,), generator=rng)
    if len(shape) == 1:
        return Batch(torch.randn(rows, *shape, generator=rng), labels)
    grey = torch.randint(256, (rows, *shape), generator=rng)  # what a pixel of a dataset can be
    return Batch(grey / 127.5 - 1, labels)


def step(variant: Variant, i: int, shape: tuple[int, ...], steps: int = STEPS, shift: int = 0) -> dict[str, Tensor]:
    clock = Clock(i, i * BATCH, steps * BATCH, i / steps, i == steps - 1)
    return dict(variant.train_step(batch(i, shape, shift=shift), clock))


@pytest.mark.parametrize("shape", [*IMAGES, POINTS], ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_it_trains_and_samples_on_every_shape_it_claims(name: str, shape: tuple[int, ...]) -> None:
    if not suits(name, shape):
        with pytest.raises(Unsuitable, match=name):
            build(name, shape)
        return
    variant = build(name, shape)
    for losses in (step(variant, 0, shape, 2), step(variant, 1, shape, 2)):
        if VARIANTS[name].role != "planted":
            assert all(torch.isfinite(value) and value.dim() == 0 for value in losses.values())
    variant.eval()
    state = torch.get_rng_state()
    with torch.no_grad():
        first, again = (variant.sample(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (3, *shape) and first.dtype == torch.float32
    assert torch.equal(first.nan_to_num(7), again.nan_to_num(7)) and torch.equal(torch.get_rng_state(), state)
    if variant.score_real is not None:
        assert variant.score_real(batch(0, shape).data).shape == (BATCH,)


@parametrize_with_checks(sorted(VARIANTS.keys() - {"planted-nan"}))
def test_it_conforms(plugin: Subject, check: Check) -> None:
    check(plugin)


@parametrize_with_checks("planted-nan", expected_failed_checks={"finite_losses": "its loss is NaN on purpose"})
def test_the_one_that_is_not_finite_conforms_otherwise(plugin: Subject, check: Check) -> None:
    check(plugin)


@pytest.mark.parametrize("shape", [(1, 9, 9), (1, 4, 4), (1, 128, 128)], ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("name", ["dcgan", "progan", "r1", "stylegan"])
def test_it_says_what_does_not_suit_it(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(Unsuitable, match=name):
        build(name, shape)


@pytest.mark.parametrize("name", [n for n in sorted(VARIANTS) if VARIANTS[n].generate is not None])
def test_each_sample_depends_on_its_own_latent_alone(name: str) -> None:
    variant = build(name).eval()
    z = variant.latent(6, torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(variant.generate(z)[2:3], variant.generate(z[2:3]), rtol=1e-4, atol=1e-5)


# Images of digits seen where 9,600 do not teach enough.
SLOW_LEARNERS = (
    "control",
    "dragan",
    "minibatch",
    "minimax",
    "pacgan",
    "rbm",
    "relativistic",
    "unrolled",
    "wgan",
    "wgan-gp",
)
IMAGES_SEEN = {**dict.fromkeys(SLOW_LEARNERS, 19_200), "lsgan": 32_000, "vanilla": 32_000}


@pytest.fixture(scope="session")
def noise_fid(digits_trained: Callable[..., Variant]) -> float:
    """The score of pure noise, which learns nothing."""
    return digits_trained(VARIANTS["noise"], 64).fid


@pytest.mark.parametrize("name", LEARNERS)
def test_it_learns(name: str, digits_trained: Callable[..., Variant], noise_fid: float) -> None:
    """Seconds of real training on real digits end far below noise (FID 11.8)."""
    assert noise_fid > 11
    assert digits_trained(VARIANTS[name], IMAGES_SEEN.get(name, 9_600)).fid < 0.6 * noise_fid


# Whose logits are not one linear layer's only output.
SEVERAL_HEADS = {"acgan", "biggan", "cgan", "infogan", "projected", "reacgan"}


@pytest.mark.parametrize("name", [n for n in GANS if VARIANTS[n].role == "variant"])
def test_features_of_d_are_what_its_last_linear_layer_is_given(name: str) -> None:
    variant = build(name).eval()
    x = batch(0, (1, 8, 8)).data
    with torch.no_grad():
        features = variant.discriminator_features(x)
        assert features.shape[0] == len(x) and features.dim() == 2
        before = variant.score_real(x)
        torch.testing.assert_close(variant.score_real(x), before)  # asking leaves nothing behind
    linear = [m for m in variant.discriminator.modules() if getattr(m, "bias", None) is not None][-1]
    if name not in SEVERAL_HEADS:
        torch.testing.assert_close(linear(features).flatten(), before)
