from __future__ import annotations

import numpy as np
import pytest
import torch

from ganbench.harness.metric_values import apply
from ganbench.metrics import (
    MetricError,
    NotApplicable,
    classification_accuracy,
    classifier,
    frechet_distance,
    intra_class_frechet_distance,
)
from ganbench.metrics.conditional import ClassificationAccuracyScore, IntraFID, labelled
from ganbench.plugin.interfaces import Dataset, Evidence, Extractor, Side
from ganbench.plugin.variant import Batch, Variant

CENTRES = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])


def blobs(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return CENTRES.numpy()[labels] + 0.3 * rng.normal(size=(n, 2)), labels


class Plain(Extractor):
    name, size, weights_hash = "plain", 2, "0"

    def __call__(self, batch):
        return batch.flatten(1).float(), None


class Honest(Variant):
    """Gives the class that it is asked for."""

    name = "honest"
    classes = 3
    latent_dim = 2

    def __init__(self) -> None:
        super().__init__(torch.Size((2,)))

    def latent(self, n, rng=None):
        y = torch.randint(3, (n,), generator=rng)
        return torch.cat([super().latent(n, rng), torch.eye(3)[y]], 1)

    def shown(self, z):
        return z[:, 2:].argmax(1)

    def fake(self, z):
        return Batch(CENTRES[self.shown(z)] + 0.3 * z[:, :2], z[:, 2:].argmax(1))

    def generate(self, z):
        return self.fake(z).data


class Deaf(Honest):
    """As good a sample of the whole, whatever class it is asked for."""

    def shown(self, z):
        return (z[:, 0] * 1e6).long() % 3


def evidence(variant, n: int = 600, **more) -> Evidence:
    real, labels = blobs(0, n)
    fake = variant.sample(n, torch.Generator().manual_seed(1)).numpy() if variant else real
    return Evidence(
        fake=Side(np.float32(fake), fake, **more),
        real=Side(np.float32(real), real, labels=labels),
        train=lambda: None,
        dataset=Dataset(name="three", shape=(2,), classes=3, budget_images=1, load=lambda split: None),
        variant=variant,
        extractor=Plain(),
    )


BOTH = [ClassificationAccuracyScore(), IntraFID()]


def test_an_honest_generator_and_one_that_ignores_its_class():
    honest, deaf = apply(BOTH, evidence(Honest())).values, apply(BOTH, evidence(Deaf())).values
    assert honest["cas"] > 0.98 and deaf["cas"] < 0.7
    assert honest["intra_fid"] < 0.05 and deaf["intra_fid"] > 1.0
    # What FID sees of the two is the same.
    whole = [frechet_distance(e.real.features, e.fake.features) for e in (evidence(Honest()), evidence(Deaf()))]
    assert max(whole) < 0.05


def test_permuted_classes_are_found():
    x, labels = blobs(1, 300)
    assert classification_accuracy(x, (labels + 1) % 3, *blobs(2, 300)) < 0.02
    assert classification_accuracy(x, labels, *blobs(2, 300)) > 0.98


def test_a_dropped_class_costs_its_share():
    x, labels = blobs(1, 600)
    kept = labels < 2
    assert classification_accuracy(x[kept], labels[kept], *blobs(2, 300)) == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 40, 37)])
def test_images(shape, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 60)
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = rng.integers(0, 90, size=(120, *shape), dtype=np.uint8)
    for i, label in enumerate(labels):
        images[i, :, 2 * label : 2 * label + 2] += 150
        if shape[1] > 8:
            images[i, :, 10 * label : 10 * label + 8] |= 128
    assert classification_accuracy(images[:60], labels[:60], images[60:], labels[60:]) > 0.9


def test_seeded_and_global_states_left_alone(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 60)
    x, labels = np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 4
    before = torch.get_rng_state()
    with torch.no_grad():
        torch.set_default_dtype(torch.float64)
        try:
            first = classification_accuracy(x, labels, x, labels)
        finally:
            torch.set_default_dtype(torch.float32)
    assert classification_accuracy(x, labels, x, labels) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert classification_accuracy(x[:1], labels[:1], x, labels) == 0.25


def test_intra_class_distance_is_the_mean_over_classes():
    (x, one), (y, two) = blobs(3, 90), blobs(4, 60)
    expected = np.mean([frechet_distance(x[one == c], y[two == c]) for c in range(3)])
    assert intra_class_frechet_distance(x, one, y, two) == pytest.approx(expected)
    assert intra_class_frechet_distance(x, one, x, one) == pytest.approx(0.0, abs=1e-10)
    order = np.random.default_rng(0).permutation(60)
    assert intra_class_frechet_distance(x, one, y[order], two[order]) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(MetricError, match=r"fewer: \[2\]"):
        intra_class_frechet_distance(x, one, y[two < 2], two[two < 2])


def test_samples_and_their_classes_come_of_one_latent():
    side = labelled(evidence(Honest(), n=700))
    assert len(side.samples) == len(side.labels) == len(side.features) == 700
    assert np.array_equal(np.linalg.norm(side.samples[:, None] - CENTRES.numpy(), axis=2).argmin(1), side.labels)


def test_real_samples_of_a_floor_bring_their_classes():
    floor = apply(BOTH, evidence(None, labels=blobs(0, 600)[1])).values
    assert floor["cas"] > 0.98 and floor["intra_fid"] == pytest.approx(0.0, abs=1e-9)
    for metric in BOTH:
        assert not metric.needs & {"variant", "history"}, "a floor would not be computed"


def test_not_for_variants_without_classes():
    class Unconditional(Honest):
        classes = None

    class Unlabelled(Honest):
        def fake(self, z):
            return Batch(z[:, :2])

    unlabelled = evidence(Honest())
    unlabelled.real = Side(unlabelled.real.samples, unlabelled.real.features)
    for case in (evidence(Unconditional()), evidence(Unlabelled()), evidence(None), unlabelled):
        assert apply(BOTH, case).values == {"cas": None, "intra_fid": None}


def test_too_few_of_a_class_is_an_empty_cell():
    with pytest.raises(NotApplicable, match="fewer than 2"):
        IntraFID()(evidence(Honest(), n=5))


def test_errors():
    x, labels = blobs(0, 30)
    for bad in (x[0], x * np.nan, np.zeros((30, 8, 8)), x.astype(str)):
        with pytest.raises(MetricError):
            classification_accuracy(bad, labels, x, labels)
    with pytest.raises(MetricError, match="shape"):
        classification_accuracy(x[:, :1], labels, x, labels)
    with pytest.raises(MetricError, match="fake_labels"):
        classification_accuracy(x, labels[1:], x, labels)
