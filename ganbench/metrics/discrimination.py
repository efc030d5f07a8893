"""How well a variant's own discriminator tells real images from samples."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ganbench.metrics.intervals import bootstrap
from ganbench.metrics.numerics.checks import numbers
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, NotApplicable, Scores


def roc_auc(real: Any, fake: Any) -> float:
    """Area under the ROC curve: the chance that a real sample scores above a fake, a tie counting half.

    Args:
        real: scores ``(n,)``, n >= 1; larger means more real.
        fake: scores ``(m,)``, m >= 1.

    Returns:
        The area, in [0, 1]; 1/2 where the two cannot be told apart.

    Raises:
        MetricError: no scores, or one that is not finite.

    Source:
        Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating
        Characteristic (ROC) Curve".
    """
    positive, negative = numbers(real, "real", ndim=1), np.sort(numbers(fake, "fake", ndim=1))
    lower = np.searchsorted(negative, positive, side="left").sum()
    not_higher = np.searchsorted(negative, positive, side="right").sum()
    return float(lower + not_higher) / (2.0 * len(positive) * len(negative))


def balanced_accuracy(real: Any, fake: Any, threshold: float) -> float:
    """Mean of the shares of real scores above and of fake scores below ``threshold``; one equal to it counts half.

    Args:
        real: scores ``(n,)``, n >= 1; larger means more real.
        fake: scores ``(m,)``, m >= 1.
        threshold: above it the discriminator says "real".

    Returns:
        The accuracy, in [0, 1]; 1/2 for a discriminator that says the same of everything.

    Raises:
        MetricError: no scores, or one that is not finite.
    """
    said_real = np.sign(numbers(real, "real", ndim=1) - threshold).mean()
    said_fake = np.sign(threshold - numbers(fake, "fake", ndim=1)).mean()
    return float(2.0 + said_real + said_fake) / 4.0


def _scores(evidence: Evidence) -> Scores:
    if evidence.scores is None:
        raise NotApplicable("the variant has no discriminator that scores samples")
    return evidence.scores


def _threshold(scores: Scores) -> float:
    if scores.threshold is None:
        raise NotApplicable("the variant's discriminator is a critic: it declares no decision threshold")
    return scores.threshold


class DiscriminatorMetric(Metric):
    """Reads the discriminator's scores. At equilibrium each is 1/2; real data have no value of their own."""

    direction = "none"
    needs = frozenset({"variant"})
    floor = None
    requires = "one training batch"


class DiscriminatorAUC(DiscriminatorMetric):
    """How well the discriminator tells held-out images from samples (area under the ROC curve); 1/2 is chance."""

    name = "d_auc"
    label = "D AUC"

    def __call__(self, evidence: Evidence) -> float:
        scores = _scores(evidence)
        return roc_auc(scores.test, scores.fake)

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        scores = _scores(evidence)
        return bootstrap(roc_auc, scores.test, scores.fake)


class DiscriminatorTrainAUC(DiscriminatorMetric):
    """How well the discriminator tells training images from samples; above ``d_auc``, it knows them by heart."""

    name = "d_auc_train"
    label = "D AUC (train)"

    def __call__(self, evidence: Evidence) -> float:
        scores = _scores(evidence)
        return roc_auc(scores.train, scores.fake)

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        scores = _scores(evidence)
        return bootstrap(roc_auc, scores.train, scores.fake)


class DiscriminatorAccuracy(DiscriminatorMetric):
    """Share of held-out images and samples that the discriminator judges rightly, at its decision threshold."""

    name = "d_accuracy"
    label = "D accuracy"

    def __call__(self, evidence: Evidence) -> float:
        scores = _scores(evidence)
        return balanced_accuracy(scores.test, scores.fake, _threshold(scores))

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        scores = _scores(evidence)
        return bootstrap(partial(balanced_accuracy, threshold=_threshold(scores)), scores.test, scores.fake)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [DiscriminatorAUC(), DiscriminatorTrainAUC(), DiscriminatorAccuracy()]
