"""Several datasets at once, what the statistics say in words, and what simulation says of them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ganbench
from ganbench.analysis.aggregation import TAUS, across, profiles
from ganbench.analysis.findings import findings, interquartile_means, neighbours
from ganbench.analysis.ranking import leaderboard, trials_table
from ganbench.analysis.statistics import friedman
from ganbench.plugin.report import Report
from ganbench.reporters import load_reporters
from ganbench.reporters.sections import sections
from ganbench.reporters.sentences import across_datasets, sentences

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
simulation = importlib.import_module("simulation")
frame, CONSTANT, FLOOR = simulation.frame, simulation.CONSTANT, simulation.FLOOR
SEEDS = np.exp(0.1 * np.array([-1.2, -0.6, 0.0, 0.6, 1.2]))


def suite(datasets: int = 2, factors: tuple[float, ...] = (1.0, 4.0, 16.0)) -> np.ndarray:
    """Scores (datasets, variants, seeds) whose variants have the medians ``factors``."""
    return np.broadcast_to(np.array(factors)[:, None] * SEEDS, (datasets, len(factors), 5)).copy()


def report(table: pd.DataFrame) -> Report:
    return Report(leaderboard(table), trials_table(table), findings=findings(table))


def told(table: pd.DataFrame, dataset: str = "data-00000") -> str:
    (section,) = [section for section in sections(report(table)) if section.dataset == dataset]
    return "\n".join(sentences(section))


@pytest.mark.parametrize(
    ("k", "quantile"),
    [(3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_nemenyi_has_the_critical_values_of_demsars_table_5(k: int, quantile: float) -> None:
    rng = np.random.default_rng(0)
    ranks = stats.rankdata(rng.random((14, k)), axis=1)
    found = friedman(ranks)
    error = np.sqrt(k * (k + 1) / (6 * 14))
    assert found.difference / error == pytest.approx(quantile, abs=1e-3)
    at = stats.studentized_range.sf(np.sqrt(2) * found.difference / error, k, np.inf)
    assert at == pytest.approx(0.05, abs=1e-6)
    means = ranks.mean(axis=0)
    np.testing.assert_array_equal(found.pairs <= 0.05, np.abs(means[:, None] - means) >= found.difference)


def test_friedman_by_hand_and_where_all_is_tied() -> None:
    # Three variants in the same order on four datasets: 12 N / (k (k + 1)) * sum (R - 2)^2 = 8.
    found = friedman([[1, 2, 3]] * 4)
    assert found.statistic == pytest.approx(8.0)
    assert found.p == pytest.approx(np.exp(-4))
    tied = friedman([[2.0, 2.0, 2.0]] * 9)
    assert (tied.statistic, tied.p) == (0.0, 1.0) and (tied.pairs == 1).all()


def test_average_ranks_share_ties() -> None:
    scores = suite()
    scores[1, 0] = scores[1, 1]
    found = across(frame(scores)).set_index("variant")
    assert found["average_rank"].to_dict() == {"v00": 1.25, "v01": 1.75, "v02": 3.0}
    assert found["datasets"].tolist() == [2, 2, 2]


def test_normalised_score_by_its_formula() -> None:
    score = 9.0
    found = across(frame(np.full((2, 2, 5), score))).iloc[0]
    expected = 1 - (np.sqrt(score) - np.sqrt(FLOOR)) / (np.sqrt(CONSTANT) - np.sqrt(FLOOR))
    assert found[["score", "score_low", "score_high"]].tolist() == pytest.approx([expected] * 3)
    for value, normalised in ((FLOOR, 1.0), (CONSTANT, 0.0), (-0.01, 1 + np.sqrt(FLOOR) / (10 - np.sqrt(FLOOR)))):
        assert across(frame(np.full((2, 2, 5), value)))["score"][0] == pytest.approx(normalised)
    # Coverage: its share of the floor.
    assert across(frame(np.full((2, 2, 5), 0.3), direction="max", floor=0.9))["score"][0] == pytest.approx(1 / 3)


def test_failed_trials_score_nothing_and_never_the_mean() -> None:
    scores = np.full((2, 2, 8), FLOOR)
    failed = np.zeros(scores.shape, dtype=bool)
    failed[:, 0, :2] = True  # a quarter: outside the middle half
    found = across(frame(scores, failed)).set_index("variant")
    assert found.loc["v00", "score"] == pytest.approx(1.0)
    failed[:, 0, :8] = True
    assert across(frame(scores, failed)).set_index("variant").loc["v00", "score"] == 0.0


def test_every_dataset_weighs_the_same_whatever_its_seeds() -> None:
    scores = np.full((2, 2, 40), np.nan)
    scores[0] = FLOOR
    scores[1, :, :2] = CONSTANT
    found = across(frame(scores))
    assert found["score"].tolist() == pytest.approx([0.5, 0.5])
    shares = profiles(frame(scores))
    assert shares[shares["tau"] == 0.5]["share"].tolist() == pytest.approx([0.5, 0.5])


def test_a_single_seed_has_no_interval_and_the_family_of_the_data_is_named() -> None:
    scores = suite()
    scores[1, :, 1:] = np.nan
    table = frame(scores)
    table.loc[(table.dataset == "data-00000") & (table.variant == "v01"), "true_family"] = "yes"
    found = across(table)
    assert found["score"].notna().all() and found[["score_low", "score_high"]].isna().all(axis=None)
    assert profiles(table)[["low", "high"]].isna().all(axis=None)
    assert "No interval where a variant has one seed on a dataset: v00, v01, v02." in found.attrs["notes"]
    assert "True family on data-00000, so no measure for the others: v01." in found.attrs["notes"]
    shown = across_datasets(report(table))
    assert all("[" not in row[2] for row in shown.rows) and not any("too narrow" in text for text in shown.notes)
    scores = suite()
    scores[1, 0, 1:] = np.nan
    found = across(frame(scores)).set_index("variant")
    assert found["score_low"].isna().tolist() == [name == "v00" for name in found.index]
    assert "No interval where a variant has one seed on a dataset: v00." in across(frame(scores)).attrs["notes"]


def test_tests_across_datasets_begin_at_eight_and_the_reader_is_told() -> None:
    few = across(frame(suite(7)))
    assert few["tier"].tolist() == ["?"] * 3 and few.attrs["friedman"] is None
    assert "need at least 8 datasets (here 7)" in few.attrs["notes"][0]
    enough = across(frame(suite(8)))
    assert enough["variant"].tolist() == ["v00", "v01", "v02"]
    # Neighbours are one rank apart, less than 1.17; the outer two are two apart.
    assert enough["tier"].tolist() == ["a", "ab", "b"]
    assert enough.attrs["friedman"]["p"] == pytest.approx(np.exp(-8))
    assert "1.17 apart" in enough.attrs["notes"][0]
    two = across(frame(suite(8, (1.0, 2.0))))
    assert two["tier"].tolist() == ["?", "?"] and "3 variants (here 2)" in two.attrs["notes"][0]


def test_variants_that_are_not_everywhere_are_left_out_and_named() -> None:
    scores = suite()
    scores[1, 2] = np.nan
    found = across(frame(scores))
    assert found["variant"].tolist() == ["v00", "v01"]
    assert any("v02" in note for note in found.attrs["notes"])
    scores[1, 1] = np.nan
    alone = across(frame(scores))
    assert len(alone) == 0 and "No two variants" in alone.attrs["notes"][-1]


def test_of_a_dataset_one_protocol_counts() -> None:
    usual, short = frame(suite()), frame(suite(1, (1.0, 4.0)))
    short = short.assign(protocol="ffffffff", budget_images="640")
    found = across(pd.concat([usual, short], ignore_index=True))
    assert found.attrs["datasets"] == ["data-00000", "data-00001"]
    assert len(found) == 3 and any("0a1b2c3d" in note for note in found.attrs["notes"])


def test_across_does_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    table = frame(np.exp(rng.normal(size=(3, 4, 6))))
    for seed in range(3):
        rows = table.sample(frac=1, random_state=seed)
        pd.testing.assert_frame_equal(ganbench.across(rows), across(table))
        pd.testing.assert_frame_equal(ganbench.profiles(rows), profiles(table))


def test_profiles_fall_from_the_share_above_a_constant_and_stay_in_their_band() -> None:
    rng = np.random.default_rng(0)
    table = frame(np.exp(1 + rng.normal(size=(2, 2, 6))), rng.random((2, 2, 6)) < 0.2)
    for _, profile in profiles(table).groupby("variant"):
        assert profile["tau"].tolist() == TAUS.tolist()
        assert (np.diff(profile["share"]) <= 0).all()
        assert ((profile["low"] <= profile["share"]) & (profile["share"] <= profile["high"])).all()
    one = across(frame(suite(1)))
    assert len(one) == 0 and len(profiles(frame(suite(1)))) == 0


def test_the_reader_is_told_what_neighbours_differ_in() -> None:
    rng = np.random.default_rng(1)
    text = told(frame(np.exp(0.3 * rng.normal(size=(1, 2, 5)) + np.array([[0.0], [3.0]]))))
    assert "v00 beats v01: P 1.00, p " in text and "93.75 % (5 completed seeds)" in text
    near = frame(np.exp(0.3 * rng.normal(size=(1, 2, 10)) + np.array([[0.0], [0.2]])))
    found = neighbours(near).iloc[0]
    needed, low = found["seeds_needed"], found["seeds_needed_low"]
    assert needed > 10 > low and f"about {needed} [{low}" in told(near) and "seeds a side would separate" in told(near)
    five = told(frame(np.exp(0.3 * rng.normal(size=(1, 6, 5)))))
    assert "these trials do not say how many seeds" in five and "Of 6 variants with 5 seeds" in five
    assert "More than four variants need ten seeds" in five and "Where scores are tied" in five
    few = told(frame(np.exp(rng.normal(size=(1, 2, 3)))))
    assert "75 % (3 completed seeds)" in few and "it takes 5 of each" in few and "were not tested" in few
    single = told(frame(np.exp(rng.normal(size=(1, 2, 1)))))
    assert "these trials do not say how many seeds would separate them" in single


def test_a_better_median_that_loses_the_test_is_not_called_better() -> None:
    # v00 has the better median, by a hair, and a long tail.
    v00 = [1.0, 1.001, 1.002, 1.003, 1.004, 50.0, 60.0, 70.0, 80.0]
    v01 = [1.0041, 1.0042, 1.0043, 1.0044, 1.0045, 1.0046, 1.0047, 1.0048, 1.0049]
    both = neighbours(frame(np.array([[v00, v01]])))
    assert both["variant"][0] == "v00" and both["separated"][0] and both["better"][0] == "v01"
    assert "v01 beats v00 on the mean that is tested, not in the median" in told(frame(np.array([[v00, v01]])))


def test_ranks_without_failures_and_interquartile_means_reach_the_reader() -> None:
    scores = suite(1, (1.0, 4.0))
    failed = np.zeros(scores.shape, dtype=bool)
    failed[0, 0, :3] = True
    text = told(frame(scores, failed))
    assert "v00 would be rank 1 instead of 2" in text and "v01 would be rank 2 instead of 1" in text
    failed[0, 0, :] = True
    assert "v00 would have no rank" in told(frame(scores, failed))
    assert "failed" not in told(frame(scores)) and "Interquartile" not in told(frame(scores))
    eight = frame(np.tile(np.arange(1.0, 9.0), (1, 2, 1)))
    assert interquartile_means(eight)["value"].tolist() == [4.5, 4.5]
    assert "v00 4.50 [" in told(eight)


def test_reports_show_several_datasets_and_one_file_holds_them(tmp_path: Path) -> None:
    both, one = report(frame(suite())), report(frame(suite(1)))
    shown = across_datasets(both)
    assert shown is not None and across_datasets(one) is None
    assert shown.headings[:2] == ["Variant", "Average rank ↓"] and "Tier" not in shown.headings  # nothing was tested
    assert shown.rows[0][:2] == ["v00", "1.00"] and len(shown.rows[0]) == len(shown.headings)
    assert any("too narrow" in note for note in shown.notes)
    many = across_datasets(report(frame(suite(8))))
    assert many is not None and not any("too narrow" in note for note in many.notes)
    for reporter in load_reporters(["csv", "md", "html"]):
        reporter.write_report(both, tmp_path)
    written = pd.read_csv(tmp_path / "across.csv")
    assert written["average_rank"].tolist() == [1.0, 2.0, 3.0]
    for page in ("leaderboard.md", "leaderboard.html"):
        text = (tmp_path / page).read_text()
        assert "Across datasets" in text and "need at least 8 datasets (here 2)" in text
    for reporter in load_reporters(["csv", "md", "html"]):
        reporter.write_report(one, tmp_path)
    assert not (tmp_path / "across.csv").exists()
    assert "Across datasets" not in (tmp_path / "leaderboard.md").read_text()


@pytest.mark.parametrize("name", ["normal", "gamma, shape 2", "30 % collapse, x8"])
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_intervals_keep_their_word_in_simulation(name: str, seeds: int) -> None:
    repeats = 300
    found, stated = simulation.covered(simulation.DRAWS[name], repeats, seeds)
    error = 100 * np.sqrt(stated / 100 * (1 - stated / 100) / repeats)
    assert abs(found - stated) <= 3.5 * error + 0.5


@pytest.mark.parametrize(("name", "variants"), [("normal", 6), ("20 % crash", 6), ("gamma, shape 2", 2)])
def test_equal_variants_share_a_letter_in_simulation(name: str, variants: int) -> None:
    repeats = 100
    found = simulation.split(simulation.DRAWS[name], repeats, variants, 5)
    assert found <= 5 + 100 * 3.5 * np.sqrt(0.05 * 0.95 / repeats)
    # And those that are three standard deviations apart do not.
    assert simulation.power(50, 2, 5, 3) > 80
