"""The memorizer: what it keeps, and the order in which it shows it."""

from __future__ import annotations

import pytest
import torch
from ganbench_plugins.memorizer import Memorizer

from ganbench.harness.checkpoint import capture
from ganbench.harness.evaluation import draw_samples
from ganbench.harness.serialization import fingerprint
from ganbench.harness.training import DataOrder
from ganbench.metrics import frechet_distance
from ganbench.metrics.memorization import authenticity
from ganbench.plugin import Batch, Clock
from ganbench.utils.pixels import from_uint8, to_uint8

CPU = torch.device("cpu")
IMAGES = torch.randint(0, 256, (897, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def trained(data: torch.Tensor, steps: int, **hyperparameters: int) -> Memorizer:
    """Handed batches of 64 as the harness draws them."""
    variant = Memorizer(data.shape[1:], **hyperparameters)
    order = DataOrder(len(data), seed=0)
    for i in range(steps):
        rows = data[order.batch(64 * i, 64)]
        rows = from_uint8(rows) if rows.dtype == torch.uint8 else rows
        variant.train_step(Batch(rows), Clock(i, 64 * i, 64 * steps, i / steps, i + 1 == steps))
    return variant.eval()


def keys(rows: torch.Tensor) -> list[bytes]:
    rows = to_uint8(rows) if rows.dim() == 4 else rows
    return [row.numpy().tobytes() for row in rows]


@pytest.mark.parametrize("data", [IMAGES, torch.randn(897, 2)], ids=["images", "points"])
def test_it_keeps_every_sample_once_and_shows_all_before_any_again(data: torch.Tensor) -> None:
    variant = trained(data, 40)
    known = {row.numpy().tobytes() for row in data}
    assert len(variant.kept) == 897
    shown = keys(draw_samples(variant, 2 * 897, 5, CPU))  # in chunks of 500
    first, second = shown[:897], shown[897:]
    assert set(first) == set(second) == known
    assert keys(draw_samples(variant, 900, 5, CPU)) == shown[:900]
    assert keys(draw_samples(variant, 900, 6, CPU)) != shown[:900]


def test_the_order_is_seeded_and_does_not_depend_on_the_chunks() -> None:
    variant = trained(IMAGES, 20)
    whole = variant.sample(700, torch.Generator().manual_seed(1))
    rng = torch.Generator().manual_seed(1)
    assert torch.equal(whole, torch.cat([variant.sample(n, rng) for n in (1, 299, 400)]))
    assert torch.equal(variant.sample(700, rng.manual_seed(1)), whole)  # seeded again, it begins again
    torch.rand(1, generator=rng)
    assert not torch.equal(variant.sample(700, rng), whole)  # somebody else drew from it: another order
    neighbour = variant.sample(700, torch.Generator().manual_seed(2))
    assert sum(a == b for a, b in zip(keys(whole), keys(neighbour), strict=True)) < 20


def test_without_a_generator_it_draws_from_the_global_one() -> None:
    variant = trained(IMAGES, 20)
    torch.manual_seed(3)
    first, second = variant.sample(30), variant.sample(30)
    torch.manual_seed(3)
    assert torch.equal(first, variant.sample(30)) and not torch.equal(first, second)


def test_sampling_changes_no_state() -> None:
    variant = trained(IMAGES, 20)
    before = fingerprint(capture(variant))
    draw_samples(variant, 1200, 0, CPU)
    assert fingerprint(capture(variant)) == before


def test_capacity_keeps_the_first_and_copies_in_the_data_count_once() -> None:
    variant = trained(IMAGES, 40, capacity=100)
    assert torch.equal(variant.kept, IMAGES[DataOrder(897, seed=0).batch(0, 100)])
    copies = IMAGES[:10].repeat(64, 1, 1, 1)  # copies within a batch, too
    assert sorted(keys(from_uint8(trained(copies, 12).kept))) == sorted(keys(from_uint8(IMAGES[:10])))


def test_before_the_first_batch_it_still_samples() -> None:
    assert torch.equal(Memorizer(torch.Size((1, 8, 8))).sample(3, torch.Generator()), torch.zeros(3, 1, 8, 8))


def test_images_that_differ_in_one_grey_level_have_different_hashes() -> None:
    base = torch.full((1, 1, 28, 28), 128, dtype=torch.uint8)
    changed = base.repeat(28 * 28, 1, 1, 1)
    changed.flatten(1).fill_diagonal_(129)
    hashes = Memorizer(torch.Size((1, 28, 28))).hash(torch.cat([base, changed]))
    assert len(hashes.unique()) == len(hashes)


def test_scores_do_not_see_it_but_authenticity_does() -> None:
    """On Gaussian points: as near to held-out data as the training data are, and nothing is authentic."""
    generator = torch.Generator().manual_seed(4)
    train, test = torch.randn(2, 500, 2, generator=generator)
    samples = draw_samples(trained(train, 10), 500, 0, CPU)
    floor = frechet_distance(test.numpy(), train.numpy())
    assert frechet_distance(test.numpy(), samples.numpy()) == pytest.approx(floor, rel=1e-3)
    assert authenticity(samples.numpy(), train.numpy()) == 0
    assert authenticity(test.numpy(), train.numpy()) > 0.3
