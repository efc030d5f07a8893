"""P-precision and P-recall: how probable it is that a sample belongs to the support of the other set."""

from __future__ import annotations

from typing import Any

import torch

from ganbench.metrics.numerics.checks import feature_pair, positive_integer
from ganbench.metrics.numerics.distances import nearest, screened
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError

K = 4
STRETCH = 1.2


def probabilistic_precision_recall(real: Any, fake: Any, k: int = K, stretch: float = STRETCH) -> dict[str, float]:
    """Mean probability that a fake belongs to the real data's support, and a real sample to the fakes'.

    All balls of a set have one radius: ``R = stretch * mean distance to the k-th nearest other``, which an outlier
    hardly moves. A ball at distance r holds a sample with probability ``1 - r / R`` (0 from R on), and the support
    holds it unless every ball misses it: ``P = 1 - product over balls of min(r / R, 1)``.

    Args:
        real: features ``(n, d)``, n > k.
        fake: features ``(m, d)``, m > k.
        k: the neighbour whose mean distance sets the radius.
        stretch: a of the paper.

    Returns:
        ``p_precision`` and ``p_recall``, each in [0, 1].

    Raises:
        MetricError: too few rows, different widths, a value that is not finite, a ``stretch`` that is not above 0, or
            a set of which every row has k exact copies (its radius is 0).

    Source:
        Park and Kim 2023, "Probabilistic Precision and Recall Towards Reliable Evaluation of Generative Models",
        section 4; k = 4 and a = 1.2 are theirs.
    """
    least = positive_integer(k, "k") + 1
    if not 0.0 < stretch < float("inf"):
        raise MetricError(f"stretch must be a finite number above 0, not {stretch!r}")
    one, two = map(torch.from_numpy, feature_pair(real, fake, rows=(least, least)))
    radius = {}
    for name, rows in (("real", one), ("fake", two)):
        radius[name] = stretch * float(nearest(rows, rows, k, own=torch.arange(len(rows)))[0][:, -1].mean())
        if radius[name] == 0.0:
            raise MetricError(f"every row of {name} has at least {k} exact copies: its balls have radius 0")
    missed_fake = torch.zeros(len(two), dtype=torch.float64)
    missed_real = torch.empty(len(one), dtype=torch.float64)
    for some, squared, _ in screened(one, two):
        distances = squared.clamp_(min=0.0).sqrt_()
        missed_fake += (distances / radius["real"]).clamp_(max=1.0).log_().sum(dim=0)
        missed_real[some] = (distances / radius["fake"]).clamp_(max=1.0).log_().sum(dim=1)
    return {
        "p_precision": float(1.0 - missed_fake.exp().mean()),
        "p_recall": float(1.0 - missed_real.exp().mean()),
    }


def of_evidence(evidence: Evidence) -> dict[str, float]:
    """Both scores of one evaluation, for ``Evidence.once``."""
    return probabilistic_precision_recall(evidence.real.features, evidence.fake.features)


class ProbabilisticScore(Metric):
    """One of the two; the first that is asked for computes both."""

    direction = "max"
    cost = "end"
    constants = {"k": K, "a": STRETCH}
    rows = (K + 1, K + 1)

    def __call__(self, evidence: Evidence) -> float:
        return float(evidence.once(of_evidence)[self.name])


class PPrecision(ProbabilisticScore):
    """Mean probability that a sample lies in the support of the real data."""

    name = "p_precision"
    label = "P-precision"


class PRecall(ProbabilisticScore):
    """Mean probability that a real sample lies in the support of the generated ones."""

    name = "p_recall"
    label = "P-recall"


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [PPrecision(), PRecall()]
