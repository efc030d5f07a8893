from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from ganbench.analysis.agreement import agreement

DIRECTIONS = {"fid": "min", "recall": "max", "ct": "none"}


def board(fid: list[float], recall: list[float]) -> pd.DataFrame:
    n = len(fid)
    return pd.DataFrame(
        {"dataset": "d", "protocol": "p", "rank": range(1, n + 1), "fid": fid, "recall": recall, "ct": range(n)}
    )


def test_is_spearmans_with_better_turned_upwards():
    fid, recall = np.random.default_rng(0).normal(size=(2, 12)).round(1)
    (row,) = agreement(board(list(fid), list(recall)), DIRECTIONS).to_dict("records")
    assert (row["first"], row["second"], row["variants"]) == ("fid", "recall", 12)
    assert row["spearman"] == pytest.approx(spearmanr(-fid, recall).statistic)
    assert -1 <= row["low"] <= row["spearman"] <= row["high"] <= 1


def test_the_same_and_the_opposite_ranking():
    order = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for recall, rho in ((order[::-1], 1.0), (order, -1.0)):
        (row,) = agreement(board(order, recall), DIRECTIONS).to_dict("records")
        assert [row[name] for name in ("spearman", "low", "high")] == pytest.approx([rho] * 3)


def test_too_few_variants_ties_and_gaps_say_nothing():
    order = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(agreement(board(order[:4], order[:4]), DIRECTIONS)) == 0
    assert len(agreement(board(order, [1.0] * 5), DIRECTIONS)) == 0
    assert len(agreement(board(order, [np.nan, *order[1:]]), DIRECTIONS)) == 0
    table = board(order, order)
    table["rank"] = [1, 2, 3, 4, None]  # a baseline has no rank
    assert len(agreement(table, DIRECTIONS)) == 0
