"""How far a score would move with other samples: bootstrap intervals, where they mean something.

Resampling rows with replacement is sound for means over samples and smooth functions of them: IS,
shares of samples (precision, authenticity, high quality), the discriminator's scores, MS-SSIM and path
length over their independent pairs, hits of a classifier. It is not sound where copies of a row mean
something, as about a third of the rows of a resample are copies:

- FID, its extrapolation and intra-class FID: a resample has fewer distinct rows, so every resampled
  distance is biased upwards (as with a set about half as large), and the interval lies above the score;
- KID and sliced Wasserstein: the same, by the copies' similarity to themselves;
- recall, coverage, modes, near duplicates, Vendi: copies have neighbours at distance 0, reach nothing
  new and are alike.

For those the spread over seeds is the honest measure. None of these intervals contains what another
training would change.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ganbench.kinds import Evidence, MetricError
from ganbench.metrics import conditional, probing, similarity, smoothness
from ganbench.metrics._checks import as_array, positive_integer
from ganbench.metrics.discrimination import balanced_accuracy, roc_auc
from ganbench.metrics.inception import inception_score

DRAWS = 1000
SEED = 2020
LEVEL = 0.95


def bootstrap(
    function: Callable[..., float], *arrays: Any, draws: int = DRAWS, rng: int = SEED, level: float = LEVEL
) -> tuple[float, float]:
    """Percentile interval of ``function(*arrays)`` under resampling of rows.

    Args:
        function: of the arrays; returns a number.
        arrays: each ``(n, ...)``, n >= 1, resampled with replacement independently of the others.
        draws: resamples.
        rng: seed.
        level: nominal coverage, in (0, 1). The true one is somewhat lower for few rows.

    Returns:
        ``(low, high)``.

    Raises:
        MetricError: no rows, no arrays, a level outside (0, 1), or a value of ``function`` that is not finite.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    sides = [as_array(array, "an argument of a bootstrap") for array in arrays]
    if not sides or any(side.ndim == 0 or not len(side) for side in sides) or not 0.0 < level < 1.0:
        raise MetricError("a bootstrap needs arrays with rows, and a level between 0 and 1")
    state = np.random.default_rng(rng)
    values = [
        function(*(side[state.integers(len(side), size=len(side))] for side in sides))
        for _ in range(positive_integer(draws, "draws"))
    ]
    if not np.isfinite(values).all():
        raise MetricError("a bootstrap's function returned a value that is not finite for some of the resamples")
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def _score(probabilities: np.ndarray) -> float:
    return inception_score(probabilities)[0]


def _mean_of(compute: Callable[[Evidence], np.ndarray]) -> Callable[[Evidence, float], tuple[Any, ...]]:
    return lambda evidence, value: (np.mean, evidence.once(compute))


def _share(evidence: Evidence, value: float) -> tuple[Any, ...]:
    """Which samples count does not matter to the bootstrap of a share, only how many."""
    n = len(evidence.fake.features)
    return np.mean, np.arange(n) < round(value * n)


def _accuracy(evidence: Evidence, value: float) -> tuple[Any, ...]:
    scores: Any = evidence.scores
    return partial(balanced_accuracy, threshold=scores.threshold), scores.test, scores.fake


SOUND: dict[str, Callable[[Evidence, float], tuple[Any, ...]]] = {
    "is": lambda evidence, value: (_score, evidence.fake.probabilities),
    "precision": _share,
    "authenticity": _share,
    "high_quality": _share,
    "d_auc": lambda evidence, value: (roc_auc, evidence.scores.test, evidence.scores.fake),  # type: ignore[union-attr]
    "d_auc_train": lambda evidence, value: (roc_auc, evidence.scores.train, evidence.scores.fake),  # type: ignore[union-attr]
    "d_accuracy": _accuracy,
    "ms_ssim": _mean_of(similarity.of_evidence),
    "smoothness": _mean_of(smoothness.of_evidence),
    "cas": _mean_of(conditional.hits_of_evidence),
    "d_probe": _mean_of(probing.of_evidence),
}
"""For each metric with a sound bootstrap, the function and arrays to resample."""


def sampling_interval(
    name: str, value: float, evidence: Evidence, draws: int = DRAWS, rng: int = SEED
) -> tuple[float, float] | None:
    """The bootstrap interval of one metric's ``value`` on ``evidence``; None where a bootstrap is not sound."""
    if name not in SOUND:
        return None
    function, *arrays = SOUND[name](evidence, value)
    return bootstrap(function, *arrays, draws=draws, rng=rng)
