"""Projected GAN: the features are frozen, D sees nothing else, and the losses are sums over depths."""

from __future__ import annotations

import torch
from ganbench_plugins.projected import Projected

from ganbench.plugin import Batch, Clock
from ganbench.toolkit import hinge_discriminator_loss, hinge_generator_loss

IMAGE = torch.Size((3, 16, 16))
REAL, FAKE = (Batch(torch.rand(8, *IMAGE, generator=torch.Generator().manual_seed(i)) * 2 - 1) for i in range(2))


def test_the_features_are_never_trained_and_the_judges_are() -> None:
    torch.manual_seed(0)
    variant = Projected(IMAGE)
    features, judges = ({n: p.clone() for n, p in m.named_parameters()} for m in parts(variant))
    assert features and judges
    for i in range(3):
        variant.train_step(REAL, Clock(i, 8 * i, 64, i / 8, False))
    after = [dict(m.named_parameters()) for m in parts(variant)]
    assert all(torch.equal(p, features[n]) for n, p in after[0].items())
    assert all(not torch.equal(p, judges[n]) for n, p in after[1].items())


def parts(variant: Projected) -> tuple[torch.nn.Module, torch.nn.Module]:
    return variant.discriminator.features, variant.discriminator.judges


def test_losses_are_sums_over_the_depths_of_their_means_over_the_batch() -> None:
    torch.manual_seed(0)
    variant = Projected(IMAGE).eval()
    real, fake = variant.discriminator(REAL.data), variant.discriminator(FAKE.data)
    assert real.shape == (8, 3)  # 16x16, 8x8 and 4x4
    d = sum(hinge_discriminator_loss(real[:, i], fake[:, i]) for i in range(3))
    torch.testing.assert_close(variant.discriminator_phase(REAL, FAKE), d)
    g = sum(hinge_generator_loss(fake[:, i]) for i in range(3))
    torch.testing.assert_close(variant.generator_phase(REAL, FAKE), g)
    torch.testing.assert_close(variant.score_real(REAL.data), real.sum(1))


def test_every_depth_hears_of_the_finest_detail_and_features_have_a_steady_size() -> None:
    torch.manual_seed(0)
    features = Projected(torch.Size((1, 64, 64))).discriminator.features
    x = torch.randn(4, 1, 64, 64)
    sizes = [f.std().item() for f in features(x)]
    assert len(sizes) == 5 and max(sizes) < 5 * min(sizes)
    changed = x.clone()
    changed[:, :, 5, 5] += 1
    assert all(not torch.equal(a, b) for a, b in zip(features(x), features(changed), strict=True))
