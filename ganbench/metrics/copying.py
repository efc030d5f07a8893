"""C_T: the three-sample test for data copying."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganbench.metrics.numerics.cells import Cells
from ganbench.metrics.numerics.checks import feature_pair, positive_integer
from ganbench.metrics.numerics.distances import nearest
from ganbench.plugin import hookimpl
from ganbench.plugin.interfaces import Evidence, Metric, MetricError

CELLS = 10
LEAST = 20
SEED = 2020


def rank_z(first: np.ndarray, second: np.ndarray) -> float:
    """The Mann-Whitney statistic of two samples as a z-score: below 0 where ``first`` tends to be smaller.

    ``(U - n m / 2) / sqrt(n m (n + m + 1) / 12)``, U the pairs in which the first is larger, equal ones counted half.
    """
    ordered, n, m = np.sort(second), len(first), len(second)
    larger = (np.searchsorted(ordered, first, "left") + np.searchsorted(ordered, first, "right")).sum() / 2.0
    return float((larger - n * m / 2.0) / np.sqrt(n * m * (n + m + 1) / 12.0))


def data_copying(fake: Any, train: Any, test: Any, cells: int = CELLS, least: int = LEAST, rng: int = SEED) -> float:
    """Whether samples are nearer to the training data than held-out real data are: far below 0, they are copies.

    k-means of the training data makes cells. In each, distances to the nearest training row of the cell are compared
    between samples and held-out rows by ``rank_z``; C_T is the mean, weighted by the share of held-out rows. A cell
    with fewer than ``least`` samples, or without held-out or training rows, does not count.

    Args:
        fake: features ``(m, d)``, m >= least.
        train: features ``(n, d)``, n >= cells.
        test: held-out features ``(l, d)``, l >= 1.
        cells: of k-means.
        least: samples that a cell must have; tau of the paper is ``least / m``.
        rng: seed of k-means.

    Returns:
        A z-score: about 0 for samples as near as held-out data, below -3 for copies, above 3 for samples that are
        farther from the training data than real data are.

    Raises:
        MetricError: too few rows, different widths, a value that is not finite, or no cell that counts.

    Source:
        Meehan, Chaudhuri and Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models",
        sections 3.2 and 3.3.
    """
    sizes = positive_integer(least, "least"), positive_integer(cells, "cells")
    one, known = feature_pair(fake, train, rows=sizes, names=("fake", "train"))
    held, _ = feature_pair(test, train, rows=(1, 1), names=("test", "train"))
    found = Cells(known, cells, rng)
    of_fake, of_train, of_test = (found.of(rows) for rows in (one, known, held))
    weights, scores = [], []
    for cell in range(cells):
        inside = [of_fake == cell, of_test == cell, of_train == cell]
        if inside[0].sum() < least or not inside[1].any() or not inside[2].any():
            continue
        near = torch.from_numpy(known[inside[2]])
        fakes, reals = (
            nearest(torch.from_numpy(rows[mask]), near, 1)[0][:, 0].numpy()
            for rows, mask in zip((one, held), inside[:2], strict=True)
        )
        weights.append(len(reals))
        scores.append(rank_z(fakes, reals))
    if not scores:
        raise MetricError(
            f"none of the {cells} cells has {least} samples and a held-out row: "
            f"{len(one)} samples and {len(held)} held-out rows are too few, or lie apart"
        )
    return float(np.average(scores, weights=weights))


class DataCopying(Metric):
    """Whether samples lie nearer to training images than held-out images do: well below 0, they are copies."""

    name = "ct"
    label = "C_T"
    direction = "none"
    cost = "end"
    needs = frozenset({"features", "held_out"})
    floor = "test"
    constants = {"cells": CELLS, "least": LEAST, "seed": SEED}
    rows = (1, LEAST)
    requires = f"{CELLS} training rows"
    biased_by = "number of samples"

    def __call__(self, evidence: Evidence) -> float:
        return data_copying(evidence.fake.features, evidence.train().features, evidence.real.features)


@hookimpl
def ganbench_metrics() -> list[Metric]:
    return [DataCopying()]
