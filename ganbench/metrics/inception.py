"""The inception score (IS): are samples clear, and of many classes?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ganbench.metrics.intervals import percentiles, resampled_means
from ganbench.metrics.numerics.checks import numbers, positive_integer
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable

SPLITS = 10
ROWS_FOR_SPLITS = 5000
SEED = 2020
TOLERANCE = 1e-3
"""How far a row of probabilities may sum from 1: below it is the rounding of a half-precision softmax."""

CACHED_ROWS = 128
"""Rows whose logarithms stay in cache."""


def _minus_entropies(p: np.ndarray) -> np.ndarray:
    """Sums of ``p log p`` over the last axis, with ``0 log 0 = 0``."""
    logs = np.maximum(p, np.nextafter(0.0, 1.0))
    np.log(logs, out=logs)
    logs *= p
    return np.asarray(logs.sum(axis=-1))


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
    scores = [np.exp(sure.mean() - _minus_entropies(part.mean(axis=0))) for part, sure in _parts(probabilities, splits)]
    return float(np.mean(scores)), float(np.std(scores)) if len(scores) > 1 else float("nan")


def inception_interval(probabilities: Any, splits: int | None = None) -> tuple[float, float]:
    """Bootstrap interval (95 %) of ``inception_score``: rows are resampled within each of its parts.

    A resample has fewer distinct rows, whose marginal is less even: with many classes all resampled scores
    lie below the score. Their spread is sound, their place is not, so they are shifted to have their mean at it.
    """
    state = np.random.default_rng(SEED)
    scores = []
    for part, sure in _parts(probabilities, splits):
        means = np.concatenate(list(resampled_means(np.column_stack([sure, part]), state)))
        scores.append(np.exp(means[:, 0] - _minus_entropies(means[:, 1:])))
    resampled = np.mean(scores, axis=0)
    return percentiles(resampled - resampled.mean() + inception_score(probabilities, splits)[0])


def _parts(probabilities: Any, splits: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Probabilities ``(m, classes)`` of each part's rows, in float64, with their ``sum p log p`` ``(m,)``."""
    single = getattr(probabilities, "dtype", None) == np.float32
    p = numbers(probabilities, "probabilities", ndim=2, dtype=np.float32 if single else np.float64)
    parts = (SPLITS if len(p) >= ROWS_FOR_SPLITS else 1) if splits is None else positive_integer(splits, "splits")
    if len(p) < parts:
        raise MetricError(f"probabilities needs a row for each of {parts} splits, not {len(p)}")
    order = np.random.RandomState(SEED).permutation(len(p)) if parts > 1 else np.arange(len(p))
    for i in range(parts):
        part = p[order[i * len(p) // parts : (i + 1) * len(p) // parts]].astype(np.float64)
        sums = part.sum(axis=1, keepdims=True)
        if part.min() < 0.0 or np.abs(sums - 1.0).max() > TOLERANCE:
            raise MetricError(
                "probabilities must be >= 0 and each row must sum to 1: pass a softmax's output, not logits"
            )
        part /= sums
        # Mean KL = H(mean) - mean H, which needs no division by the marginal.
        chunks = (part[start : start + CACHED_ROWS] for start in range(0, len(part), CACHED_ROWS))
        yield part, np.concatenate([_minus_entropies(chunk) for chunk in chunks])


class InceptionScore(Metric):
    """How sure the extractor's classifier is of each sample's class, and how evenly samples spread over classes."""

    name = "is"
    label = "IS"
    direction = "max"
    floor = "draws"
    needs = frozenset({"probabilities"})
    constants = {"splits": SPLITS, "rows_for_splits": ROWS_FOR_SPLITS, "seed": SEED}
    rows = (0, 1)
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        if evidence.fake.probabilities is None:
            raise NotApplicable("the extractor gives no class probabilities")
        return inception_score(evidence.fake.probabilities)[0]

    def interval(self, evidence: Evidence, value: float) -> tuple[float, float]:
        return inception_interval(evidence.fake.probabilities)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [InceptionScore()]
