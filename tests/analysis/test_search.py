"""The rule by which benchmarks/search.py chooses the defaults of a variant."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from search import choose, finalists, merged_finalists


def scored(dataset: str, scores: dict[int, float]) -> pd.DataFrame:
    return pd.DataFrame({"dataset": dataset, "configuration": list(scores), "score": list(scores.values())})


DIGITS = scored("digits", {0: 9.0, 1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 5.0, 6: 6.0})  # FID, lower is better
RING8 = scored("ring8", {0: 0.1, 1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 5: 0.95, 6: 0.2})  # mass, higher is better
NONE = scored("mnist", {})


def test_finalists_are_the_defaults_and_the_best_four_over_both_datasets() -> None:
    assert finalists(pd.concat([DIGITS, RING8])) == [0, 1, 2, 5, 3]
    assert finalists(DIGITS) == [0, 1, 2, 3, 4]
    assert finalists(DIGITS[:1]) == [0]


def test_the_chosen_one_has_the_lowest_mean_rank_over_all_three() -> None:
    found = pd.concat([DIGITS, RING8])
    assert choose(found, NONE) == 1
    assert choose(found, scored("mnist", {0: 5.0, 1: 50.0, 2: 4.0, 3: 30.0, 5: 40.0})) == 2
    assert choose(found, scored("mnist", {0: 5.0, 1: float("inf"), 2: 4.0, 3: 30.0, 5: 40.0})) == 2, "1 failed"


def test_the_defaults_win_a_tie() -> None:
    assert choose(scored("digits", {0: 1.0, 1: 2.0}), scored("mnist", {0: 2.0, 1: 1.0})) == 0


def test_finalists_that_are_not_trained_again_stay(tmp_path: Path) -> None:
    kept = tmp_path / "finalists.csv"
    old = [scored("mnist", {0: 1.0}).assign(variant=name) for name in ("r1", "vae")]
    pd.concat(old).to_csv(kept, index=False)
    (tmp_path / "r1/mnist/7").mkdir(parents=True)
    (tmp_path / "r1/mnist/7/trials.csv").write_text("variant,fid\nr1,\n")
    merged = merged_finalists(tmp_path, kept)
    assert merged[["variant", "configuration", "score"]].to_numpy().tolist() == [
        ["r1", 7, float("inf")],
        ["vae", 0, 1.0],
    ]
