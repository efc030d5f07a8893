"""Authenticity and MiFID: are samples copies of training data?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.frechet import frechet_distance
from ganbench.metrics.intervals import bootstrap_share
from ganbench.metrics.numerics.checks import feature_pair
from ganbench.metrics.numerics.distances import BLOCK, nearest
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError

COSINE_LIMIT = 0.1


def authenticity(fake: Any, train: Any) -> float:
    """Share of samples farther from their nearest training image than that image is from its own nearest neighbour.

    The nearest neighbour of a training image is another one (another row, which may be a copy, at
    distance 0). Of equally near training images the first counts. An exact copy of a training image
    is never authentic. Compare with the value of held-out real data: far below it, copies are made.

    Args:
        fake: features ``(n, d)``, n >= 1.
        train: features ``(m, d)`` of the training set, m >= 2.

    Returns:
        The share, in [0, 1].

    Raises:
        MetricError: too few rows, different widths, or a value that is not finite.

    Source:
        Alaa et al. 2022, "How Faithful is your Synthetic Data?", authenticity with nearest neighbours.
    """
    x, y = map(torch.from_numpy, feature_pair(fake, train, rows=(1, 2), names=("fake", "train")))
    distances, index = nearest(x, y, 1)
    used, which = index.unique(return_inverse=True)
    own, _ = nearest(y[used], y, 1, own=used)
    return float((distances[:, 0] > own[which, 0]).double().mean())


def memorization_distance(train: Any, fake: Any) -> float:
    """Mean over training rows of ``1 - |cos|`` to the sample nearest in angle; 0 where all are copied.

    Rows of zeros, which have no direction, are left out.

    Raises:
        MetricError: no rows, different widths, a value that is not finite, or nothing but zeros.

    Source:
        Bai et al. 2021, "On Training Sample Memorization: Lessons from Benchmarking Generative Modeling with a
        Large-scale Competition", section 3. They average over samples the distance to the nearest training row; this is
        the mean over training rows, as in torchmetrics, whose values it has.
    """
    units = []
    for name, rows in zip(("train", "fake"), feature_pair(train, fake, (1, 1), ("train", "fake")), strict=True):
        largest = np.abs(rows).max(axis=1, keepdims=True)
        kept = rows[largest[:, 0] > 0.0] / largest[largest[:, 0] > 0.0]  # so that no square overflows or vanishes
        if not len(kept):
            raise MetricError(f"{name} has only rows of zeros, which have no direction")
        units.append(torch.from_numpy(kept / np.linalg.norm(kept, axis=1, keepdims=True)))
    one, two = units
    nearest_ones = [(part @ two.T).abs_().amax(dim=1) for part in one.split(max(1, BLOCK // len(two)))]
    return float((1.0 - torch.cat(nearest_ones)).clamp_(min=0.0).mean())


def memorization_informed_frechet_distance(train: Any, fake: Any, limit: float = COSINE_LIMIT) -> float:
    """FID divided by how far samples are from the training data, where they are suspiciously near.

    ``FID / (s + 1e-14)`` with s the ``memorization_distance`` where that is below ``limit``, else 1. FID is that of
    the samples against the same training data; up to 1e-8 the score is 0.

    Args:
        train: features ``(n, d)`` of the training set, n >= 2.
        fake: features ``(m, d)``, m >= 2.
        limit: on s. 0.1 was chosen for Inception features; other extractors have other angles.

    Returns:
        The score, >= 0, in squared units of the features.

    Raises:
        MetricError: too few rows, different widths, a value that is not finite, or rows of zeros only.

    Source:
        Bai et al. 2021, section 3; as ``torchmetrics.image.mifid``.
    """
    distance = memorization_distance(train, fake)
    fid = frechet_distance(train, fake)
    return fid / ((distance if distance < limit else 1.0) + 1e-14) if fid > 1e-8 else 0.0


class Authenticity(Metric):
    """Share of samples that are no near copies of a training image; compare with that of held-out real images."""

    name = "authenticity"
    label = "Authenticity"
    direction = "none"
    cost = "end"
    floor = "test"
    rows = (0, 1)
    requires = "2 training rows"

    def __call__(self, evidence: Evidence) -> float:
        return authenticity(evidence.fake.features, evidence.train().features)

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        return bootstrap_share(value, len(evidence.fake.features))


class MemorizationInformedFrechet(Metric):
    """FID against the training data, divided by the samples' distance from them where that is suspiciously small."""

    name = "mifid"
    label = "MiFID"
    direction = "min"
    cost = "end"
    floor = "test"
    constants = {"limit": COSINE_LIMIT, "ddof": 1}
    rows = (0, 2)
    requires = "2 training rows"
    rows_per_feature = 2
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        train = evidence.train().features
        return memorization_informed_frechet_distance(train, evidence.fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [Authenticity(), MemorizationInformedFrechet()]
