"""All scores that features and class probabilities give, in one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.metrics.frechet import frechet_distance
from ganbench.metrics.inception import inception_score
from ganbench.metrics.kernel import SEED, SUBSET_SIZE, SUBSETS, kernel_distance
from ganbench.metrics.manifold import BALL_K, DENSITY_K, manifold_scores
from ganbench.metrics.numerics.feature_set import feature_sets
from ganbench.metrics.numerics.threads import shared, submit


def score_all(
    real: Any,
    fake: Any,
    probabilities: Any = None,
    ball_k: int = BALL_K,
    density_k: int = DENSITY_K,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    rng: int | np.random.RandomState = SEED,
    splits: int | None = None,
) -> dict[str, float]:
    """Every score of fakes against real data that features alone decide, each pass over them made once.

    The numbers are those of ``frechet_distance``, ``kernel_distance``, ``manifold_scores`` and
    ``inception_score``, to the bit. Where ``real`` is a FeatureSet, what it alone decides is computed
    in the first call and found in the next.

    Args:
        real: features ``(n, d)`` or a FeatureSet.
        fake: features ``(m, d)`` or a FeatureSet.
        probabilities: of the fakes ``(m, classes)``, or None.
        ball_k: the neighbour that sets radii for precision and recall.
        density_k: the same for density and coverage.
        subsets: how many the kernel distance draws.
        subset_size: rows of each.
        rng: their seed.
        splits: of the inception score.

    Returns:
        ``fid, kid, kid_std, precision, recall, density, coverage``, and with probabilities ``is`` and
        ``is_std`` (nan for one split).

    Raises:
        MetricError: too few rows for one of them, different widths, or a value that is not finite.
    """
    one, two = feature_sets(real, fake, rows=(max(ball_k, density_k) + 1, ball_k + 1))
    scores: dict[str, float] = {}
    with shared():
        fid = submit(lambda: frechet_distance(one, two))  # beside the others: factorisations are not cut into parts
        if probabilities is not None:
            scores["is"], scores["is_std"] = inception_score(probabilities, splits)
        kid, kid_std = kernel_distance(one, two, subsets, subset_size, rng, balls=(ball_k, density_k))
        scores |= {"fid": fid.result(), "kid": kid, "kid_std": kid_std}
        return scores | manifold_scores(one, two, ball_k, density_k)
