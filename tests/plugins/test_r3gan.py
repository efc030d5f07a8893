"""R3GAN: its loss and penalties where the gradient is known, pairs, and what a network may not depend on."""

from __future__ import annotations

import pytest
import torch
from ganbench_plugins.r3gan import R3GAN
from torch import nn
from torch.nn import functional

from ganbench.plugin import Batch
from ganbench.toolkit import Augment

IMAGE, POINT = torch.Size((1, 8, 8)), torch.Size((2,))


def samples(shape: torch.Size, seed: int) -> Batch:
    return Batch(torch.rand(16, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1)


@pytest.mark.parametrize(("shape", "share"), [(IMAGE, 1.0), (POINT, 0.1)])
@pytest.mark.parametrize("norm", [0.5, 3.0])
def test_d_s_loss_is_the_paper_s_where_its_gradient_is_known(shape: torch.Size, share: float, norm: float) -> None:
    """With D(x) = w.x, |w| = norm, R1 and R2 are norm^2 / 2 each, times gamma."""
    variant = R3GAN(shape, gamma=4.0)
    w = torch.randn(shape.numel(), generator=torch.Generator().manual_seed(1))
    d = nn.Linear(shape.numel(), 1, bias=False)
    with torch.no_grad():
        d.weight.copy_(norm * w / w.norm())
    variant.discriminator = nn.Sequential(Augment("none"), nn.Flatten(), d)
    real, fake = samples(shape, 1), samples(shape, 2)
    difference = (variant.judge(fake) - variant.judge(real)).detach()
    expected = functional.softplus(difference).mean() + share * 4.0 * norm**2
    torch.testing.assert_close(variant.discriminator_phase(real, fake), expected)
    torch.testing.assert_close(variant.generator_phase(real, fake), functional.softplus(-difference).mean())


def test_only_differences_between_pairs_count() -> None:
    torch.manual_seed(0)
    variant, real, fake = R3GAN(IMAGE), samples(IMAGE, 1), samples(IMAGE, 2)
    before = variant.discriminator_phase(real, fake), variant.generator_phase(real, fake)
    with torch.no_grad():
        variant.discriminator[-1].bias += 3
    torch.testing.assert_close((variant.discriminator_phase(real, fake), variant.generator_phase(real, fake)), before)
    assert variant.decision_threshold is None


def test_nothing_is_normalised_and_each_logit_depends_on_its_own_sample() -> None:
    torch.manual_seed(0)
    variant = R3GAN(torch.Size((3, 28, 28)))
    assert not [m for m in variant.modules() if "Norm" in type(m).__name__]
    x = samples(torch.Size((3, 28, 28)), 1)
    torch.testing.assert_close(variant.judge(Batch(x.data[3:5])), variant.judge(x)[3:5])


@pytest.mark.parametrize("side", [8, 16, 28, 64])
def test_large_images_have_no_blocks_at_their_own_resolution(side: int) -> None:
    variant = R3GAN(torch.Size((1, side, side)))
    assert variant.resolutions()[-1][1] == (side if side <= 16 else side // 2)
    assert variant.generate(variant.latent(2)).shape == (2, 1, side, side)
