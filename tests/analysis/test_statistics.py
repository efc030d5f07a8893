"""Intervals, tests, tiers: closed forms, published tables, and coverage by simulation."""

from __future__ import annotations

import math
import re
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.stats import permutation_test

from ganbench.analysis.statistics import (
    holm,
    interquartile_mean,
    interval,
    permutation_pairs,
    power_of_welch,
    seeds_needed,
    seeds_to_separate,
    superiority,
    welch,
)
from ganbench.analysis.tiers import letters, p_values, separate, tied_shares


@pytest.mark.parametrize(("n", "coverage"), [(1, 0.0), (2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375)])
def test_up_to_five_values_the_interval_is_the_range_with_its_exact_coverage(n, coverage):
    assert interval(np.arange(n)[::-1]) == (0, n - 1, coverage)


def test_six_values_by_hand():
    # c(1) = 31/32, c(2) = 25/32, I = (31/32 - .95) / (6/32) = .1, weight = 5 I / (1 + 4 I) = 5/14.
    low, high, coverage = interval([0.0, 1.0, 10.0, 20.0, 99.0, 100.0])
    assert (low, high, coverage) == (pytest.approx(5 / 14), pytest.approx(100 - 5 / 14), 0.95)


def test_ten_values_by_hand():
    # d = 2: c(2) = 1 - 22/1024, c(3) = 1 - 112/1024; I = .3244, weight = 8 I / (2 + 6 I).
    excess = ((1 - 22 / 1024) - 0.95) / (90 / 1024)
    weight = 8 * excess / (2 + 6 * excess)
    low, high, _ = interval(np.arange(10.0) ** 2)
    assert low == pytest.approx(1 + weight * 3)
    assert high == pytest.approx(64 - weight * 15)


@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_cauchy"])
@pytest.mark.parametrize("n", [5, 6, 8, 13])
def test_intervals_cover_the_median_as_often_as_they_say(n, draw):
    rng = np.random.default_rng(3)
    truth = {"normal": 0.0, "exponential": np.log(2), "standard_cauchy": 0.0}[draw]
    trials = 3000
    hits = 0
    for sample in getattr(rng, draw)(size=(trials, n)):
        low, high, coverage = interval(sample)
        hits += low <= truth <= high
    # Three standard errors of the simulation, and the half per cent that interpolation may be off.
    assert abs(hits / trials - coverage) < 3 * np.sqrt(0.05 * 0.95 / trials) + 0.005


def test_interval_does_not_depend_on_the_order_and_moves_with_the_values():
    rng = np.random.default_rng(0)
    values = rng.normal(size=9)
    low, high, _ = interval(values)
    assert interval(rng.permutation(values))[:2] == (low, high)
    assert interval(3 * values + 2)[:2] == pytest.approx((3 * low + 2, 3 * high + 2))


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [1.0, float("inf")]])
def test_values_that_are_no_sample_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        interval(values)


def test_interquartile_mean():
    assert interquartile_mean(range(7)) is None
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0]
    found = interquartile_mean(values, seed=1)
    assert found is not None
    assert found.value == 3.5
    assert 1 <= found.low < 3.5 < found.high
    assert found == interquartile_mean(values[::-1], seed=1)
    assert found != interquartile_mean(np.random.default_rng(0).normal(size=8), seed=1)
    assert interquartile_mean([2.0] * 9) == (2.0, 2.0, 2.0)


def test_interquartile_mean_covers():
    rng = np.random.default_rng(5)
    found = [interquartile_mean(sample, resamples=400) for sample in rng.normal(size=(400, 12))]
    assert 0.89 < np.mean([f.low <= 0 <= f.high for f in found]) < 0.98


def test_interquartile_mean_leaves_an_outlier_out_of_its_interval_too():
    # The middle half of a resample holds the outlier only where more than a quarter of it does.
    found = interquartile_mean([*np.linspace(0, 1, 39), 1e6])
    assert 0 < found.low < found.value < found.high < 1
    # Of a normal sample it has 0.84 of the mean's efficiency, so the standard error is sqrt(1 / 0.84 n).
    normal = interquartile_mean(stats.norm.ppf((np.arange(400) + 0.5) / 400))
    assert normal.high - normal.low == pytest.approx(2 * 1.96 / np.sqrt(0.84 * 400), rel=0.06)


def test_welch_agrees_with_scipy_and_has_rules_for_samples_without_variance():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=5), rng.normal(1, 4, size=8)
    assert welch(a, b) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-12)
    assert welch([0.1] * 5, [0.1] * 7) == 1.0
    assert welch([0.1] * 5, [0.3] * 5) is None
    assert welch([1.0], [2.0, 3.0]) is None
    # One constant: a one-sample t-test with the other's degrees of freedom.
    assert welch([0.3] * 5, a) == pytest.approx(stats.ttest_1samp(a, 0.3).pvalue, rel=1e-9)


def test_holm_by_hand():
    # 4 x .01, 3 x .02, 2 x .03 (not below .06), 1 x .04 (not below .06)
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    # Wright 1992 / R's p.adjust(c(.01,.02,.03,.04,.05), "holm") = .05 .08 .09 .09 .09
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03, 0.04, 0.05]), [0.05, 0.08, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    with pytest.raises(ValueError, match="NaN"):
        holm([0.1, float("nan")])


def test_holm_keeps_the_error_rate_of_the_family():
    rng = np.random.default_rng(2)
    p = rng.random((4000, 10))
    assert np.mean([holm(row).min() <= 0.05 for row in p]) == pytest.approx(1 - (1 - 0.005) ** 10, abs=0.012)


def test_superiority_counts_ties_half():
    assert superiority([1, 2], [1, 3], "max") == (0.5 + 0 + 1 + 0) / 4
    assert superiority([1, 2], [1, 3], "min") == 1 - superiority([1, 2], [1, 3], "max")
    assert superiority([1, 1], [2, 3], "min") == 1.0


@pytest.mark.parametrize(
    ("separated", "expected"),
    [
        ([], []),
        ([(0, 1)], ["a", "b"]),
        ([(0, 2)], ["a", "ab", "b"]),  # not transitive: 0 = 1, 1 = 2, 0 beats 2
        ([(0, 2), (0, 3), (1, 3)], ["a", "ab", "bc", "c"]),  # a ladder
        ([(0, 1), (2, 3)], ["ab", "cd", "ac", "bd"]),  # two letters each
        ([(0, 1), (1, 2)], ["a", "b", "a"]),  # a letter may skip a variant with a small spread
        ([(0, 1), (0, 2), (1, 2)], ["a", "b", "c"]),
        ([(0, 4), (1, 3)], ["ab", "ac", "abc", "bd", "cd"]),  # 2 shares b with 3 and c with 4: it needs no d
        ([(1, 3), (2, 4)], ["abc", "ab", "ac", "cd", "bd"]),  # of two groups with 0, the one with 1 comes first
    ],
)
def test_letters_by_hand(separated, expected):
    k = max(len(expected), 2 if not separated else 0)
    matrix = np.zeros((k, k), dtype=bool)
    for i, j in separated:
        matrix[i, j] = matrix[j, i] = True
    assert letters(matrix) == (expected or ["a", "a"])


def test_two_variants_share_a_letter_exactly_if_they_are_not_separated():
    rng = np.random.default_rng(4)
    for _ in range(300):
        k = int(rng.integers(1, 9))
        matrix = np.triu(rng.random((k, k)) < rng.random(), 1)
        matrix |= matrix.T
        shown = letters(matrix)
        assert all(shown)
        for i, j in combinations(range(k), 2):
            assert bool(set(shown[i]) & set(shown[j])) is not bool(matrix[i, j])
        assert shown[0].startswith("a")


def test_letters_stay_few_where_maximal_groups_are_exponentially_many():
    k = 60
    matrix = np.zeros((k, k), dtype=bool)
    for i in range(0, k, 2):
        matrix[i, i + 1] = matrix[i + 1, i] = True  # 2**30 maximal groups
    shown = [set(re.findall(r"[a-zA-Z][0-9]*", text)) for text in letters(matrix)]
    assert len(set.union(*shown)) < k * k
    assert all(bool(shown[i] & shown[j]) is not bool(matrix[i, j]) for i, j in combinations(range(k), 2))


def test_tiers_need_five_seeds_and_say_so():
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 1, 5), rng.normal(50, 1, 5)
    found = separate([near, far, far[:4]])
    assert found.letters == ["a", "b", "?"]
    assert found.tests == 1
    assert found.p[0, 1] == pytest.approx(welch(near, far))
    assert np.isnan(found.p[0, 2])
    assert separate([near[:4], far[:4]]).letters == ["?", "?"]
    assert separate([]).letters == []


def test_five_in_a_hundred_is_separated():
    base = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # of five values on each side, t is the shift itself
    for p, expected in ((0.055, ["a", "a"]), (0.045, ["a", "b"])):
        assert separate([base, base + stats.t.isf(p / 2, 8)]).letters == expected
    found = separate([base, base + 2]).p[0, 1]
    assert separate([base, base + 2], alpha=found).letters == ["a", "b"]
    assert separate([base, base + 2], alpha=found * (1 - 1e-9)).letters == ["a", "a"]


def test_a_constant_is_as_uncertain_as_a_permutation_of_it():
    spread = np.array([2.0, 2.01, 2.02, 2.03, 2.04])
    assert welch([1.0] * 5, spread) < 1e-6
    for samples in ([[1.0] * 5, spread], [spread, [1.0] * 5]):
        assert separate(samples).p[0, 1] == pytest.approx(2 / 252)


def test_values_that_begin_and_end_alike_are_no_constant():
    samples = [np.array([0.5, 0.1, 0.9, 0.2, 0.8, 0.3, 0.5]), np.linspace(5.1, 5.8, 7)]
    (found,) = p_values(samples, np.array([0]), np.array([1]))
    assert found == pytest.approx(welch(*samples)) and found < 1e-10


def test_constants_that_differ_count_with_their_permutation_p_value():
    found = separate([[1.0] * 5, [0.0] * 5])
    assert found.p[0, 1] == pytest.approx(2 / 252)
    assert found.letters == ["a", "b"]
    # 15 pairs at five seeds: no permutation can be that sure.
    assert separate([[float(i)] * 5 for i in range(6)]).letters == ["a"] * 6


def test_equal_variants_are_rarely_split_and_distant_ones_are():
    rng = np.random.default_rng(6)
    split = np.mean([set(separate(rng.normal(size=(6, 5))).letters) != {"a"} for _ in range(400)])
    assert split < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    ladder = 4 * np.arange(4)[:, None]
    apart = np.mean([separate(rng.normal(size=(4, 5)) + ladder).letters == list("abcd") for _ in range(100)])
    assert apart > 0.9


@pytest.mark.parametrize(("n", "alpha"), [(5, 0.05), (5, 0.005), (10, 0.05 / 190)])
def test_power_of_welchs_test_is_that_of_simulated_samples(n, alpha):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(2, 20_000, n)) + [[[0.0]], [[2.3]]]
    found = np.mean(stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue <= alpha)
    assert power_of_welch(n, 2.3, alpha) == pytest.approx(found, abs=4 * np.sqrt(found * (1 - found) / 20_000))
    assert 0.5 * alpha < power_of_welch(n, 0.0, alpha) < 1.05 * alpha  # of equal means: it keeps its size


@pytest.mark.parametrize(("effect", "n"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17), (1.2, 12), (1.4, 10)])
def test_seeds_needed_are_those_of_cohens_table(effect, n):
    base = np.array([-1.0, 0.0, 1.0])  # pooled standard deviation 1
    assert seeds_to_separate(base, base + effect) == n


def test_seeds_needed_grow_with_the_number_of_tests_and_can_be_undefined():
    base = np.array([-1.0, 0.0, 1.0])
    assert seeds_to_separate(base, base + 1, tests=15) > 17
    assert seeds_to_separate(base, base + 500) == 2
    assert seeds_to_separate(base, base) is None
    assert seeds_to_separate(base, base + 1e-6) is None
    assert 9_000 < seeds_to_separate(base, base + 0.041) < 10_000 and seeds_to_separate(base, base + 0.039) is None
    assert seeds_to_separate([1.0], [2.0]) is None


def scipys_permutation(a, b):
    def distance(x, y, axis):
        return np.abs(x.mean(axis) - y.mean(axis))

    return permutation_test((a, b), distance, n_resamples=10**6, alternative="greater").pvalue


@pytest.mark.parametrize("sizes", [(5, 5), (5, 7), (3, 8), (6, 6)])
def test_permutation_counts_every_split_as_scipy_does(sizes):
    rng = np.random.default_rng(sum(sizes))
    for spread in (1.0, 0.0):
        a, b = (np.where(rng.random(n) < 0.5, 4.6, -0.7) + spread * rng.normal(size=n) for n in sizes)
        (ours,) = permutation_pairs([a, b], np.array([0]), np.array([1]))
        assert ours == pytest.approx(scipys_permutation(a, b), abs=1e-12)


def test_permutation_of_samples_that_do_not_overlap_and_of_equal_ones():
    low, high = np.arange(5.0), np.arange(10.0, 15.0)
    same = np.full(5, 3.0)
    p = permutation_pairs([low, high, same, same], np.array([0, 2]), np.array([1, 3]))
    assert p.tolist() == [2 / math.comb(10, 5), 1.0]
    many = permutation_pairs([np.arange(20.0), np.arange(100.0, 120.0)], np.array([0]), np.array([1]))
    assert many.tolist() == [1 / 100_001]


def test_tied_samples_are_tested_by_permutation_and_others_by_welch():
    rng = np.random.default_rng(0)
    crashed = np.sort(np.where(np.arange(10) < 4, np.log(100.0), rng.normal(size=10)))
    whole = np.sort(rng.normal(size=10))
    found = p_values([crashed, whole, whole + 1], np.array([0, 1]), np.array([1, 2]))
    assert found[0] == pytest.approx(permutation_pairs([crashed, whole], np.array([0]), np.array([1]))[0])
    assert found[1] == welch(whole, whole + 1)
    assert letters_of([[0.0] * 5] * 2 + [[1.0] * 5] * 2) == ["a", "a", "b", "b"]
    assert len(set(letters_of([[float(i > 2)] * 5 for i in range(6)]))) == 1  # five seeds cannot rank six constants


def letters_of(samples):
    return separate(samples).letters


@pytest.mark.parametrize(("crash", "variants", "seeds"), [(0.5, 6, 5), (0.5, 4, 10), (0.7, 4, 10)])
def test_equal_variants_that_crash_are_seldom_told_apart(crash, variants, seeds):
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(150):
        scores = np.where(
            rng.random((variants, seeds)) < crash, np.log(100.0), 0.3 * rng.normal(size=(variants, seeds))
        )
        shown = separate(list(scores)).letters
        wrong += any(not set(a) & set(b) for a in shown for b in shown)
    assert wrong <= 15  # 5 % are 7.5


def test_seeds_needed_have_an_interval_from_ten_seeds_on():
    rng = np.random.default_rng(0)
    a = rng.normal(size=10)
    b = a[::-1] + 1.0
    found = seeds_needed(a, b)
    assert found.value == seeds_to_separate(a, b) and found.low < found.value < (found.high or math.inf)
    assert seeds_needed(a[:9], b) is None and seeds_needed(a, a) is None
    assert seeds_needed(a, a + 1e-2 * rng.normal(size=10)) is None or seeds_needed(a, b + 100).high == 2
    assert seeds_needed(a, b, tests=15).value > found.value
    several = [seeds_needed(rng.normal(size=10), 1 + rng.normal(size=10)) for _ in range(100)]
    known = [one for one in several if one is not None]
    assert len(known) > 95 and np.mean([one.low <= 17 <= (one.high or math.inf) for one in known]) >= 0.9  # 0.95


def test_ties_of_a_pair_are_counted_over_both_samples():
    rng = np.random.default_rng(0)
    for _ in range(50):
        samples = [rng.integers(0, 12, rng.integers(1, 9)) + rng.choice([0.0, rng.random()]) for _ in range(6)]
        first, second = np.triu_indices(6, 1)
        expected = []
        for i, j in zip(first, second, strict=True):
            both = [*samples[i], *samples[j]]
            expected.append(sum(both.count(value) > 1 for value in both) / len(both))
        assert tied_shares(samples, first, second).tolist() == expected
