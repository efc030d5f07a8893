from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ganbench.harness.metric_values import apply
from ganbench.metrics import MetricError, linear_probe
from ganbench.metrics.probing import DiscriminatorProbe
from ganbench.plugin.interfaces import Dataset, Evidence, Side
from ganbench.plugin.variant import Variant


def blobs(seed: int, n: int, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n)
    return 2.0 * np.eye(4)[labels] + spread * rng.normal(size=(n, 4)), labels


def test_tells_what_is_linearly_separable_from_what_is_not():
    train, test = blobs(0, 400), blobs(1, 300)
    assert linear_probe(*train, *test) > 0.99
    assert linear_probe(np.ones_like(train[0]), train[1], np.ones_like(test[0]), test[1]) < 0.35
    shuffled = np.random.default_rng(2).permutation(train[1])
    assert linear_probe(train[0], shuffled, *test) < 0.5


def test_agrees_with_a_pipeline_of_scikit_learn():
    train, test = blobs(3, 200, 1.5), blobs(4, 200, 1.5)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(*train)
    assert linear_probe(*train, *test) == model.score(*test)
    assert 0.3 < model.score(*test) < 0.95


def test_blind_to_units_and_order():
    train, test = blobs(5, 200, 1.5), blobs(6, 200, 1.5)
    order = np.random.default_rng(0).permutation(200)
    value = linear_probe(*train, *test)
    assert linear_probe(train[0] * 1e20 + 1e21, train[1], test[0] * 1e20 + 1e21, test[1]) == pytest.approx(
        value, abs=0.02
    )
    assert linear_probe(*train, test[0][order], test[1][order]) == value


def test_errors():
    x, y = blobs(0, 20)
    for labels in (y[:-1], y * 0.5, y - 9, np.zeros(20, dtype=int)):
        with pytest.raises(MetricError, match="train_labels"):
            linear_probe(x, labels, x, y)
    with pytest.raises(MetricError, match="not finite"):
        linear_probe(x * np.nan, y, x, y)


class Judge(Variant):
    """A discriminator whose features are the images themselves, or nothing."""

    name = "judge"

    def __init__(self, gain: float) -> None:
        super().__init__(torch.Size((1, 2, 2)), gain=gain)
        self.seen: list[int] = []

    def discriminator_features(self, x):
        assert x.min() >= -1 and x.max() <= 1 and x.dtype == torch.float32
        self.seen.append(len(x))
        return self.gain * x


def evidence(variant, n: int = 200, **more) -> Evidence:
    def side(seed: int) -> Side:
        x, y = blobs(seed, n)
        return Side(np.uint8(np.clip(100 + 40 * x, 0, 255)).reshape(-1, 1, 2, 2), x, labels=y)

    dataset = Dataset(name="four", shape=(1, 2, 2), classes=4, budget_images=1, load=lambda split: None)
    return Evidence(side(0), side(1), lambda: side(2), dataset, variant=variant, batch_size=32, **more)


def test_metric_asks_by_whole_batches_of_training():
    variant = Judge(1.0)
    assert apply([DiscriminatorProbe()], evidence(variant)).values["d_probe"] > 0.99
    assert variant.seen == [32] * 12
    assert apply([DiscriminatorProbe()], evidence(Judge(0.0))).values["d_probe"] < 0.4


def test_metric_without_features_labels_or_a_batch():
    class Blind(Judge):
        discriminator_features = None

    unlabelled = evidence(Judge(1.0))
    unlabelled.real = Side(unlabelled.real.samples, unlabelled.real.features)
    for case in (evidence(Blind(1.0)), evidence(None), unlabelled, evidence(Judge(1.0), n=31)):
        assert apply([DiscriminatorProbe()], case).values == {"d_probe": None}
