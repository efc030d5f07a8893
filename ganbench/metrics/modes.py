"""Which modes of the data samples reach: centres of points, or classes of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import gammainc

from ganbench.metrics.intervals import bootstrap_share
from ganbench.metrics.numerics.checks import feature_pair, numbers, positive_integer
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable

DEVIATIONS = 3.0
SHARE = 0.02
ROWS = 2**16


def _divergence(fake: np.ndarray, real: np.ndarray) -> float:
    """KL(fake || real) in nats of two histograms of counts; ``real`` has no empty bin."""
    p, q = fake / fake.sum(), real / real.sum()
    here = p > 0.0
    return max(float(np.sum(p[here] * np.log(p[here] / q[here]))), 0.0)  # below 0 by rounding alone


def mode_coverage(samples: Any, centres: Any, std: float) -> dict[str, float]:
    """How samples of points spread over modes whose centres are known.

    A sample is of high quality if it lies within three standard deviations of its nearest centre
    (98.889 % of the samples of a two-dimensional normal mode do), and belongs to that mode. A mode is
    reached by one such sample, so a count of modes means nothing without ``high_quality``.

    Args:
        samples: points ``(n, d)``, n >= 1.
        centres: of the modes ``(modes, d)``.
        std: standard deviation of a mode, > 0.

    Returns:
        ``modes``: number of modes reached; ``high_quality``: share of such samples, in [0, 1];
        ``mode_kl``: KL divergence in nats of their histogram over modes from the uniform one, in
        [0, log(modes)], and its largest value, log(modes), where there is no such sample.

    Raises:
        MetricError: no rows, different widths, a value that is not finite, or ``std`` <= 0.

    Source:
        Srivastava et al. 2017, "VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational
        Learning", experiments on synthetic data.
    """
    counts, n, _ = _counts(samples, centres, std)
    found = int(counts.sum())
    kl = _divergence(counts, np.ones(len(counts))) if found else float(np.log(len(counts)))
    return {"modes": float(np.count_nonzero(counts)), "high_quality": found / n, "mode_kl": kl}


def recovered_mass(samples: Any, centres: Any, std: float) -> float:
    """Share of the data's probability that samples put where the data have it, in [0, 1], each mode its part.

    With p_k the share of samples within three standard deviations of the nearest centre, that of mode k of K, p_0 the
    share in none, and Q the share of a round normal mode within three standard deviations (the chi-squared
    distribution of d degrees of freedom at 9; 0.98889 for d = 2), the overlap of the samples' histogram and the
    data's is ``o = sum_k min(p_k, Q / K) + min(p_0, 1 - Q)``, which is 1 minus their total variation distance. It is
    ``1 - Q`` where no sample is in a mode; ``(o - (1 - Q)) / Q`` is 0 there and 1 for the data, and not below 0. A
    mode that is missing, one that is visited too rarely, and samples between modes lower it by what is misplaced; of
    n samples of the data about ``sqrt(K / (2 pi n))`` is, by chance.

    Args and errors as for ``mode_coverage``. The modes are equally likely and far apart.

    Source:
        This project's own; the total variation distance of histograms, as in Levin, Peres and Wilmer 2009, "Markov
        Chains and Mixing Times", proposition 4.2.
    """
    counts, n, width = _counts(samples, centres, std)
    inside = float(gammainc(width / 2, DEVIATIONS**2 / 2))
    overlap = np.minimum(counts / n, inside / len(counts)).sum() + min(1 - counts.sum() / n, 1 - inside)
    return max(float(overlap - (1 - inside)) / inside, 0.0)


def _counts(samples: Any, centres: Any, std: float) -> tuple[np.ndarray, int, int]:
    """Samples of high quality by mode, of how many samples, in how many dimensions."""
    points, places = feature_pair(samples, centres, rows=(1, 1), names=("samples", "centres"))
    if not 0.0 < std < np.inf:
        raise MetricError(f"std must be above 0 and finite, not {std!r}")
    counts = np.zeros(len(places), dtype=np.int64)
    for start in range(0, len(points), ROWS):
        distances = cdist(points[start : start + ROWS], places)
        mode = distances[distances.min(axis=1) <= DEVIATIONS * std].argmin(axis=1)
        counts += np.bincount(mode, minlength=len(places))
    return counts, *points.shape


def _histogram(labels: Any, name: str, classes: int) -> np.ndarray:
    values = numbers(labels, name, ndim=1)
    if values.min() < 0 or values.max() >= classes or np.any(values != np.floor(values)):
        raise MetricError(f"{name} must hold class numbers from 0 to {classes - 1}")
    return np.bincount(values.astype(np.int64), minlength=classes)


def class_coverage(predicted: Any, real_predicted: Any, classes: int) -> dict[str, float]:
    """How samples spread over classes, as a classifier sees them, against real data as it sees those.

    A class is reached by 2 % of the samples. With more than 50 classes (stacked digits have 1,000),
    where even a fair share would be below that, one sample is enough.

    Args:
        predicted: classes ``(n,)`` of the samples, 0 to ``classes - 1``.
        real_predicted: classes ``(m,)`` that the same classifier gives to real data.
        classes: how many there are.

    Returns:
        ``modes``: number of classes reached; ``mode_kl``: KL divergence in nats of the samples'
        histogram from the real one, >= 0. A class that no real sample has counts as one real
        sample, which keeps the divergence finite.

    Raises:
        MetricError: no rows, or a value that is not a class.

    Source:
        Srivastava et al. 2017, "VEEGAN", experiments on stacked MNIST.
    """
    positive_integer(classes, "classes")
    fake = _histogram(predicted, "predicted", classes)
    real = np.maximum(_histogram(real_predicted, "real_predicted", classes), 1)
    least = SHARE * fake.sum() if classes * SHARE <= 1.0 else 1
    return {"modes": float(np.count_nonzero(fake >= least)), "mode_kl": _divergence(fake, real)}


def of_evidence(evidence: Evidence) -> dict[str, float]:
    """Scores over known centres or over classes of one evaluation, for ``Evidence.once``; raises NotApplicable."""
    dataset = evidence.dataset
    if dataset.centres is not None:
        if dataset.std is None:
            raise NotApplicable(f"dataset {dataset.name} has centres of modes but no standard deviation")
        known = evidence.fake.samples, dataset.centres, dataset.std
        return {**mode_coverage(*known), "recovered_mass": recovered_mass(*known)}
    if not dataset.classes:
        raise NotApplicable(f"dataset {dataset.name} has neither known modes nor classes")
    if evidence.fake.probabilities is None or evidence.real.probabilities is None:
        raise NotApplicable("the extractor gives no class probabilities")
    fake, real = evidence.fake.probabilities, evidence.real.probabilities
    if fake.shape[1] != dataset.classes:
        raise NotApplicable(
            f"the extractor knows {fake.shape[1]} classes, dataset {dataset.name} has {dataset.classes}"
        )
    return class_coverage(
        numbers(fake, "fake probabilities", ndim=2).argmax(axis=1),
        numbers(real, "real probabilities", ndim=2).argmax(axis=1),
        dataset.classes,
    )


class ModeScore(Metric):
    """One score of ``mode_coverage`` (known centres) or of ``class_coverage`` (labelled images)."""

    needs = frozenset({"samples"})  # labelled images need probabilities too; points do not
    constants = {"deviations": DEVIATIONS, "share": SHARE}
    rows = (1, 1)
    requires = "modes or classes"
    floor = "draws"

    def __call__(self, evidence: Evidence) -> float:
        scores = evidence.once(of_evidence)
        if self.name not in scores:
            raise NotApplicable(f"dataset {evidence.dataset.name} has no known centres of modes")
        return scores[self.name]


class Modes(ModeScore):
    """How many of the data's modes or classes the samples reach."""

    name = "modes"
    label = "Modes"
    direction = "max"


class ModeKL(ModeScore):
    """How unevenly the samples spread over the data's modes or classes (KL divergence); 0 is as the data do."""

    name = "mode_kl"
    label = "Mode KL"
    direction = "min"


class RecoveredMass(ModeScore):
    """Share of the data's probability that samples put where the data have it: in each mode its part, no more."""

    name = "recovered_mass"
    label = "Recovered mass"
    direction = "max"
    rows = (0, 1)
    requires = "points with known modes"


class HighQuality(ModeScore):
    """Share of samples within three standard deviations of a mode's centre."""

    name = "high_quality"
    label = "High quality"
    direction = "max"
    rows = (0, 1)
    requires = "points with known modes"

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        return bootstrap_share(value, len(evidence.fake.samples))


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [RecoveredMass(), Modes(), ModeKL(), HighQuality()]
