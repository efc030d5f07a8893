"""A linear probe: what the features of a discriminator tell of the classes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from ganbench.metrics.intervals import MeanMetric
from ganbench.metrics.numerics.checks import feature_pair
from ganbench.metrics.samples import normalised
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable, Side
from ganbench.plugin.variant import device_of

MOST = 5000
STEPS = 200


def class_numbers(labels: Any, name: str, rows: int) -> np.ndarray:
    """``labels`` as int64 ``(rows,)``; MetricError if they are not class numbers >= 0, one a row."""
    array = np.asarray(labels)
    if array.shape != (rows,) or array.dtype.kind not in "iu" or array.min(initial=0) < 0:
        raise MetricError(f"{name} must hold a class number for each of {rows} rows")
    return array.astype(np.int64)


def probe_hits(train: Any, train_labels: Any, test: Any, test_labels: Any) -> np.ndarray:
    """Which rows of ``test`` a classifier of ``train`` gets right, bool ``(m,)``: ``linear_probe`` is their mean."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    x, y = feature_pair(train, test, rows=(2, 1), names=("train", "test"))
    known, asked = (
        class_numbers(train_labels, "train_labels", len(x)),
        class_numbers(test_labels, "test_labels", len(y)),
    )
    if len(np.unique(known)) < 2:
        raise MetricError("train_labels must hold at least 2 classes")
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std == 0.0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of steps is part of the definition
        model = LogisticRegression(max_iter=STEPS).fit((x - mean) / std, known)
    return np.asarray(model.predict((y - mean) / std) == asked)


def linear_probe(train: Any, train_labels: Any, test: Any, test_labels: Any) -> float:
    """Held-out accuracy of a logistic regression on features, standardised by the training rows.

    Args:
        train: features ``(n, d)``, n >= 2.
        train_labels: classes ``(n,)``, at least 2 different ones.
        test: features ``(m, d)``, m >= 1.
        test_labels: classes ``(m,)``.

    Returns:
        The accuracy, in [0, 1]. At most 200 steps of L-BFGS, L2 penalty with C = 1.

    Raises:
        MetricError: too few rows or classes, different widths, or a value that is not finite.

    Source:
        Alain and Bengio 2017, "Understanding intermediate layers using linear classifier probes";
        Radford et al. 2015, "Unsupervised Representation Learning with DCGAN", section 5.1, for
        discriminators.
    """
    return float(probe_hits(train, train_labels, test, test_labels).mean())


def _discriminator_features(evidence: Evidence, side: Side, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Discriminator features of shuffled rows of a side, whole training batches of them, with their labels."""
    size = evidence.batch_size
    total = min(len(side.samples), max(MOST, size))
    rows = rng.permutation(len(side.samples))[: total - total % size]
    if side.labels is None or not len(rows):
        raise NotApplicable("there are no labels, or fewer real samples than one training batch")
    variant = evidence.variant
    device = device_of(variant)
    with torch.no_grad():
        parts = [
            variant.discriminator_features(batch.to(device)).detach().double().cpu()
            for batch in normalised(side.samples[rows]).split(size)
        ]
    return torch.cat(parts).flatten(1).numpy(), side.labels[rows]


class DiscriminatorProbe(MeanMetric):
    """What the discriminator has learnt of the classes: held-out accuracy of a linear classifier on its features."""

    name = "d_probe"
    label = "D probe"
    direction = "max"
    cost = "end"
    needs = frozenset({"variant", "labels", "held_out"})
    constants = {"rows": MOST, "steps": STEPS, "C": 1.0}
    floor = None
    requires = "one training batch"

    def values(self, evidence: Evidence) -> np.ndarray:
        if evidence.variant is None or evidence.variant.discriminator_features is None:
            raise NotApplicable("the variant has no discriminator features")
        rng = np.random.default_rng(evidence.seed)
        return probe_hits(
            *_discriminator_features(evidence, evidence.train(), rng),
            *_discriminator_features(evidence, evidence.real, rng),
        )


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [DiscriminatorProbe()]
