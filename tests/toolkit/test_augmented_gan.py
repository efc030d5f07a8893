"""Augmentation as an option of variants with published results: its default changes nothing, and it does its work."""

from __future__ import annotations

import pytest
import torch

from ganbench.discovery.loader import discover
from ganbench.harness.checkpoint import capture
from ganbench.harness.serialization import fingerprint
from ganbench.plugin.hyperparameters import identifying, resolve, space
from ganbench.plugin.variant import Batch, Clock, Unsuitable
from ganbench.utils.seeding import seed_everything

IMAGES = torch.Size([1, 8, 8])
NAMES = ["control", "dragan", "infogan", "lsgan", "minibatch", "r1", "relativistic", "sngan", "stylegan", "wgan-gp"]


def variant(name: str, **values):
    seed_everything(1)
    return discover([("variant", name)]).get("variant", name).thing(IMAGES, **values)


def train(of, steps: int, real: torch.Tensor | None = None) -> None:
    seed_everything(2)
    for i in range(steps):
        data = torch.rand(16, *IMAGES, generator=torch.Generator().manual_seed(i)) * 2 - 1 if real is None else real
        of.train_step(Batch(data, torch.zeros(16, dtype=torch.int64)), Clock(i, 16 * i, 16 * steps, i / steps, False))


@pytest.mark.parametrize("name", NAMES)
def test_ada_watches_the_discriminator_and_moves(name: str) -> None:
    found = variant(name, augment="ada", latent_dim=4)
    train(found, 3)
    augment = found.discriminator[0]
    assert augment.r != 0  # what D said of the real images of the last batch
    for sure, before in ((1.0, 0.2), (-1.0, 0.2)):
        augment.r.fill_(sure), augment.p.fill_(before)
        with torch.no_grad():
            found.settle(Clock(10, 160, 1600, 0.1, False))
        assert (augment.p - before) * sure == pytest.approx(0.1 / 10 / 0.25)


def test_a_critic_is_sure_where_real_images_score_above_fakes() -> None:
    found = variant("wgan-gp", augment="ada")
    found.observe(torch.tensor([5.0, 6.0, 7.0]), torch.tensor([8.0, 4.5]))
    assert found.discriminator[0].r == pytest.approx(-1 / 3)


@pytest.mark.parametrize("kind", ["ada", "diffaug"])
@pytest.mark.parametrize("name", ["r1", "stylegan"])
def test_augmentation_is_part_of_the_identity_only_where_it_is_used(name: str, kind: str) -> None:
    cls = discover([("variant", name)]).get("variant", name).thing
    assert "augment" not in identifying(cls, resolve(cls, {}))
    assert identifying(cls, resolve(cls, {"augment": kind}))["augment"] == kind
    assert "augment" not in space(cls)
    assert "augment" not in str(capture(variant(name))["scalars"])
    plain, augmented = variant(name), variant(name, augment=kind)
    for one in (plain, augmented):
        train(one, 3)
    weights = [fingerprint(list(one.generator.parameters())) for one in (plain, augmented)]
    assert weights[0] != weights[1]


def test_points_are_not_augmented() -> None:
    cls = discover([("variant", "r1")]).get("variant", "r1").thing
    with pytest.raises(Unsuitable, match="r1 with augment=ada changes images"):
        cls(torch.Size([2]), augment="ada")
