"""The inception score (IS)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.kinds import Evidence, Metric, MetricError, NotApplicable
from ganbench.metrics._checks import numbers, positive_integer
from ganbench.plugin import hookimpl

SPLITS = 10
ROWS_FOR_SPLITS = 5000
SEED = 2020
TOLERANCE = 1e-3
"""How far a row of probabilities may sum from 1: below it is the rounding of a half-precision softmax."""


def _entropy_terms(p: np.ndarray) -> np.ndarray:
    """``p log p`` with ``0 log 0 = 0``."""
    return p * np.log(np.where(p > 0.0, p, 1.0))


def inception_score(probabilities: Any, splits: int | None = None) -> tuple[float, float]:
    """``exp(E KL(p(y|x) || p(y)))``: how sure and how varied a classifier's predictions are.

    Args:
        probabilities: ``(n, classes)``, rows that sum to 1 (within 1e-3; they are rescaled to it).
        splits: how many parts the rows, shuffled by ``RandomState(2020)``, are cut into, each with a
            score of its own (torch-fidelity's shuffle and cuts). By default 10 from 5,000 rows on and
            1 below, since the score of a small part is biased.

    Returns:
        Mean of the parts' scores, in [1, classes], and their standard deviation (ddof 0), nan for one
        part.

    Raises:
        MetricError: fewer rows than splits, a value that is not finite, or rows that are no probabilities.

    Source:
        Salimans et al. 2016, "Improved Techniques for Training GANs", section 4.
    """
    p = numbers(probabilities, "probabilities", ndim=2)
    sums = p.sum(axis=1, keepdims=True)
    if p.min() < 0.0 or np.abs(sums - 1.0).max() > TOLERANCE:
        raise MetricError("probabilities must be >= 0 and each row must sum to 1: pass a softmax's output, not logits")
    parts = (SPLITS if len(p) >= ROWS_FOR_SPLITS else 1) if splits is None else positive_integer(splits, "splits")
    if len(p) < parts:
        raise MetricError(f"probabilities needs a row for each of {parts} splits, not {len(p)}")
    p = p / sums
    if parts > 1:
        p = p[np.random.RandomState(SEED).permutation(len(p))]
    scores = []
    for i in range(parts):
        part = p[i * len(p) // parts : (i + 1) * len(p) // parts]
        # Mean KL = H(mean) - mean H, which needs no division by the marginal.
        divergence = _entropy_terms(part).sum(axis=1).mean() - _entropy_terms(part.mean(axis=0)).sum()
        scores.append(np.exp(divergence))
    return float(np.mean(scores)), float(np.std(scores)) if parts > 1 else float("nan")


class InceptionScore(Metric):
    """IS of the samples under the extractor's classifier."""

    name = "is"
    label = "IS"
    direction = "max"
    needs = frozenset({"probabilities"})
    constants = {"splits": SPLITS, "rows_for_splits": ROWS_FOR_SPLITS, "seed": SEED}

    def __call__(self, evidence: Evidence) -> float:
        if evidence.fake.probabilities is None:
            raise NotApplicable("the extractor gives no class probabilities")
        return inception_score(evidence.fake.probabilities)[0]


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [InceptionScore()]
