"""Does a generator give the class that it is asked for? Classification accuracy score, and FID within classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.classifier import BATCH, STEPS, SmallClassifier
from ganbench.metrics.frechet import frechet_distance
from ganbench.metrics.intervals import MeanMetric
from ganbench.metrics.numerics.checks import as_array, feature_pair, positive_integer
from ganbench.metrics.probing import class_numbers
from ganbench.metrics.samples import EXTRACTOR_BATCH, extract, quantised
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable, Side
from ganbench.plugin.variant import device_of

SEED = 2020
LARGEST = 1e15  # of a sample: the classifier sums squares of them in float32


def intra_class_frechet_distance(real: Any, real_labels: Any, fake: Any, fake_labels: Any) -> float:
    """Mean over classes of the Frechet distance between fakes asked for a class and real samples of it.

    Args:
        real: features ``(n, d)``.
        real_labels: classes ``(n,)``; each that occurs has at least 2 rows in both sets.
        fake: features ``(m, d)``.
        fake_labels: classes ``(m,)`` that they were asked for.

    Returns:
        The distance, >= 0, in squared units of the features. Each class has a fraction of the samples, and
        so a larger bias than FID has: compare with the value of real data.

    Raises:
        MetricError: a class with fewer than 2 rows, different widths, or a value that is not finite.

    Source:
        Miyato and Koyama 2018, "cGANs with Projection Discriminator".
    """
    one, two = feature_pair(real, fake, rows=(2, 2))
    expected = class_numbers(real_labels, "real_labels", len(one))
    asked = class_numbers(fake_labels, "fake_labels", len(two))
    present = np.union1d(expected, asked)
    rare = [int(c) for c in present if min((expected == c).sum(), (asked == c).sum()) < 2]
    if rare:
        raise MetricError(f"each class needs at least 2 rows in real and fake; these have fewer: {rare}")
    return float(np.mean([frechet_distance(one[expected == c], two[asked == c]) for c in present]))


def classification_hits(fake: Any, fake_labels: Any, real: Any, real_labels: Any, rng: int = SEED) -> np.ndarray:
    """Which real samples a classifier trained on fakes gets right: bool ``(m,)``; see ``classification_accuracy``."""
    one, two = (_samples(values, name) for values, name in ((fake, "fake"), (real, "real")))
    if one.shape[1:] != two.shape[1:]:
        raise MetricError(f"fake holds samples of shape {one.shape[1:]} and real {two.shape[1:]}")
    known = class_numbers(fake_labels, "fake_labels", len(one))
    expected = class_numbers(real_labels, "real_labels", len(two))
    classes = int(max(known.max(), expected.max())) + 1
    return np.asarray(SmallClassifier(one, known, classes, positive_integer(rng, "rng", least=0))(two) == expected)


def _samples(values: Any, name: str) -> np.ndarray:
    array = as_array(values, name)
    if array.ndim not in (2, 4) or not array.size or array.dtype.kind not in "buif" or not np.isfinite(array).all():
        raise MetricError(
            f"{name} must be finite points (n, d) or images (n, channels, height, width), not {array.shape}"
        )
    if max(float(array.max()), -float(array.min())) > LARGEST:
        raise MetricError(f"{name} holds a value beyond {LARGEST:g}, whose square overflows the classifier's float32")
    return array


def classification_accuracy(fake: Any, fake_labels: Any, real: Any, real_labels: Any, rng: int = SEED) -> float:
    """Accuracy on real data of a classifier that has seen nothing but generated samples and their classes.

    The classifier sees pixels (or coordinates), not the extractor's features: those were learnt from real
    labels, which would do half of the work. It is small, two convolutions instead of the paper's
    ResNet-50, and trained from scratch for 300 steps; images larger than 32 pixels a side are reduced.

    Args:
        fake: images ``(n, channels, height, width)`` or points ``(n, d)``, n >= 1.
        fake_labels: classes ``(n,)`` that they were asked for.
        real: held-out real samples ``(m, ...)`` of the same shape and range.
        real_labels: their classes ``(m,)``.
        rng: seed of the classifier.

    Returns:
        The accuracy, in [0, 1]. Compare with a classifier trained on as many real samples.

    Raises:
        MetricError: other shapes, labels that are no class numbers, or a value that is not finite.

    Source:
        Ravuri and Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models".
    """
    return float(classification_hits(fake, fake_labels, real, real_labels, rng).mean())


def labelled(evidence: Evidence) -> Side:
    """Samples with the classes that they were asked for: as many as were scored, drawn anew where these have none.

    Real samples that stand in for a floor have theirs. A variant's ``fake(z)`` gives both, of one latent.
    """
    if evidence.fake.labels is not None:
        return evidence.fake
    variant = evidence.variant
    if getattr(variant, "classes", None) is None or not hasattr(variant, "fake"):
        raise NotApplicable("the variant generates no samples of a class that it is asked for")
    device = device_of(variant)
    rng = torch.Generator(device).manual_seed(evidence.seed)
    n, samples, labels = len(evidence.fake.samples), [], []
    with torch.no_grad():
        for start in range(0, n, EXTRACTOR_BATCH):
            batch = variant.fake(variant.latent(min(EXTRACTOR_BATCH, n - start), rng))
            if batch.labels is None:
                raise NotApplicable("the variant's samples carry no class")
            samples.append(quantised(batch.data))
            labels.append(batch.labels)
        drawn = torch.cat(samples)
        return Side(drawn.cpu().numpy(), extract(evidence, drawn), labels=torch.cat(labels).cpu().numpy())


class ConditionalMetric(Metric):
    """Needs the variant, but is not marked so: real samples, which have labels, stand in for its samples in a floor."""

    cost = "end"
    needs = frozenset({"samples", "labels"})


class ClassificationAccuracyScore(ConditionalMetric, MeanMetric):
    """Accuracy on real images of a classifier trained on samples alone; compare with one trained on real images."""

    name = "cas"
    label = "CAS"
    direction = "max"
    needs = ConditionalMetric.needs | {"held_out"}
    constants = {"classifier": "two convolutions on pixels", "steps": STEPS, "batch": BATCH, "seed": SEED}
    rows = (1, 1)
    requires = "samples of classes"

    def values(self, evidence: Evidence) -> np.ndarray:
        fake, real = evidence.once(labelled), evidence.real
        return classification_hits(fake.samples, fake.labels, real.samples, real.labels)


class IntraFID(ConditionalMetric):
    """FID between samples asked for a class and real samples of it, the mean over classes."""

    name = "intra_fid"
    label = "Intra-class FID"
    direction = "min"
    floor = "draws"
    constants = {"ddof": 1}
    rows = (2, 2)
    requires = "2 of each class in both"
    rows_per_feature = 2
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        sides = evidence.real, evidence.once(labelled)
        features = [side.features for side in sides]
        # Where modes are counted in many samples, only the first have features.
        labels = [np.asarray(side.labels)[: len(side.features)] for side in sides]
        for name, found in zip(("real data", "samples"), labels, strict=True):
            if np.bincount(found, minlength=evidence.dataset.classes or 0).min() < 2:
                raise NotApplicable(f"a class has fewer than 2 of the {name}")
        return intra_class_frechet_distance(features[0], labels[0], features[1], labels[1])


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [ClassificationAccuracyScore(), IntraFID()]
