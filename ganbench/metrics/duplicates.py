"""Near duplicates: do samples repeat each other?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.checks import feature_pair, features
from ganbench.metrics.numerics.distances import nearest
from ganbench.metrics.samples import equal_numbers
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, Side

SHARE = 0.01
SEED = 2020


def nearest_others(values: np.ndarray) -> np.ndarray:
    """Distances ``(n,)`` from each row of float64 ``(n, d)`` to the nearest other row; 0 for copies."""
    rows = torch.from_numpy(values)
    return nearest(rows, rows, 1, own=torch.arange(len(rows)))[0][:, 0].numpy()


def near_duplicates(real: Any, fake: Any, share: float = SHARE, rng: int = SEED) -> float:
    """Share of samples whose nearest other sample is as near as only the nearest pairs of real data are.

    "Near" is the distance that a share of 1 % of real samples have to their nearest other real sample,
    or less. As distances to neighbours shrink with the number of samples, as many of one set are
    compared as the other has: of the larger, a seeded draw.

    Args:
        real: features ``(n, d)``, n >= 2.
        fake: features ``(m, d)``, m >= 2.
        share: of real samples that count as near duplicates, in (0, 1).
        rng: seed of the draw.

    Returns:
        The share, in [0, 1]: 0.01 for real data (to 1/n and ties; the two ends of a nearest pair tie), 1
        where all samples are copies of a few.

    Raises:
        MetricError: too few rows, different widths, a value that is not finite, or ``share`` outside (0, 1).

    Source:
        The birthday test of Arora, Risteski and Zhang 2018, "Do GANs learn the distribution? Some Theory and
        Empirics", with the eye that tells duplicates replaced by a threshold from real data.
    """
    if not 0.0 < share < 1.0:
        raise MetricError(f"share must be above 0 and below 1, not {share!r}")
    one, two = equal_numbers(*feature_pair(real, fake, rows=(2, 2)), np.random.default_rng(rng))
    return _share_within(nearest_others(two), nearest_others(one), share)


def _share_within(fake: np.ndarray, real: np.ndarray, share: float) -> float:
    """The share of fakes whose nearest other is closer than that quantile of real ones, from these distances."""
    return float((fake <= np.quantile(real, share, method="inverted_cdf")).mean())


def _of_side(side: Side) -> np.ndarray:
    return nearest_others(features(side.features, "real", rows=2).astype(np.float64))


class NearDuplicates(Metric):
    """Share of samples that nearly repeat another sample; among real images it is 1 %."""

    name = "near_duplicates"
    label = "Near duplicates"
    direction = "min"
    constants = {"share": SHARE, "seed": SEED}
    rows = (2, 2)

    def __call__(self, evidence: Evidence) -> float:
        real, fake = evidence.real, evidence.fake
        if len(real.features) == len(fake.features):  # the real side is the same in every evaluation
            return _share_within(_of_side(fake), real.once(_of_side), SHARE)
        return near_duplicates(real.features, fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [NearDuplicates()]
