"""NDB: in how many bins of the training data are there too few or too many samples?"""

from __future__ import annotations

from typing import Any

import numpy as np

from ganbench.metrics.numerics.cells import Cells
from ganbench.metrics.numerics.checks import feature_pair, positive_integer
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError

BINS = 100
LEVEL = 0.05
SEED = 2020


def different_bins(train: Any, fake: Any, bins: int = BINS, level: float = LEVEL, rng: int = SEED) -> float:
    """Share of bins in which the share of samples differs significantly from that of training data (NDB / K).

    k-means of the training data makes the bins. In each the two shares p and q are compared by the two-sample test
    ``z = (p - q) / sqrt(r (1 - r) (1 / n + 1 / m))``, r the share among both together.

    Args:
        train: features ``(n, d)``, n >= bins.
        fake: features ``(m, d)``, m >= 1.
        bins: K.
        level: of each test, two-sided.
        rng: seed of k-means.

    Returns:
        The share, in [0, 1]: about ``level`` for samples of the training distribution.

    Raises:
        MetricError: too few rows, different widths, a value that is not finite, or ``level`` outside (0, 1).

    Source:
        Richardson and Weiss 2018, "On GANs and GMMs", section 3; K = 100 and the level are theirs, the features are
        the extractor's where they take pixels.
    """
    from scipy.special import ndtri

    one, two = feature_pair(train, fake, rows=(positive_integer(bins, "bins"), 1), names=("train", "fake"))
    if not 0.0 < level < 1.0:
        raise MetricError(f"level must be above 0 and below 1, not {level!r}")
    cells = Cells(one, bins, rng)
    n, m = len(one), len(two)
    p, q = (np.bincount(cells.of(rows), minlength=bins) / len(rows) for rows in (one, two))
    both = (n * p + m * q) / (n + m)
    error = np.sqrt(both * (1.0 - both) * (1.0 / n + 1.0 / m))
    return float((np.abs(p - q) > -ndtri(level / 2.0) * error).mean())


class DifferentBins(Metric):
    """Share of bins of the training data that hold significantly too many or too few samples."""

    name = "ndb"
    label = "NDB/K"
    direction = "min"
    cost = "end"
    floor = "test"
    constants = {"bins": BINS, "level": LEVEL, "seed": SEED}
    rows = (0, 1)
    requires = f"{BINS} training rows"
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        return different_bins(evidence.train().features, evidence.fake.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [DifferentBins()]
