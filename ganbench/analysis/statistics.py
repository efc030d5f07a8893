"""Statistics over seeds: intervals of the median, Welch's, permutation and Friedman's tests, effects, seeds needed.

Seeds of different variants are independent draws, not pairs: everything here is unpaired. Samples are small (five
seeds is usual) and heavy-tailed (a trial can fail), hence medians, order statistics and, for tests, Welch's t on
scores that the caller has put on a log scale where that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import combinations
from math import comb
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]
ALPHA = 0.05
LEVEL = 0.95
POWER = 0.8
# Below five seeds on a side nothing is called different: the test has next to no power and, where
# trials fail, false separations reach 40 %.
MINIMUM_SEEDS = 5
# Below ten seeds on a side nothing is said of how many would separate it: where 17 are true, estimates from five run
# from 5 to 177 in the middle 80 % of cases.
FEWEST_SEEDS_TO_PLAN = 10
_MOST_SEEDS = 10_000
_MOST_SPLITS = 200_000  # of two samples together, that a permutation test goes through: all of 10 + 10
_RANDOM_SPLITS = 100_000  # that it draws where there are more
_CHUNK = 16  # pairs of samples at a time, whose sums over all splits take 26 MB


class Interval(NamedTuple):
    """An interval of the median: ``low <= high``, and the probability ``coverage`` that it holds the true one."""

    low: float
    high: float
    coverage: float


class TrimmedMean(NamedTuple):
    """An interquartile mean with the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class SeedsNeeded(NamedTuple):
    """Seeds a side that separate two samples with power 0.8: the estimate, and the ends of its 95 % interval.

    ``high`` is None where no number is large enough: the samples do not say that there is a difference.
    """

    value: int
    low: int
    high: int | None


class Friedman(NamedTuple):
    """Friedman's test of k variants on N datasets, with Nemenyi's of each pair.

    Attributes:
        statistic, p: Friedman's chi-squared with k - 1 degrees of freedom, corrected for ties.
        pairs: ``(k, k)`` symmetric, p-values of Nemenyi's test; 1 on the diagonal.
        difference: average ranks at least this far apart differ at 5 % (Nemenyi's critical difference).
    """

    statistic: float
    p: float
    pairs: Floats
    difference: float


def sample_of(values: ArrayLike) -> Floats:
    """The values sorted, in float64; ValueError if there are none or one is not finite."""
    sample = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError("needs one or more finite values")
    return sample


def true_coverage(n: int) -> float:
    """Probability that ``interval`` of ``n`` values holds the true median: exact up to five, 0.95 from six."""
    return 1.0 - 2.0 ** (1 - n) if n <= 5 else LEVEL


def interval(values: ArrayLike) -> Interval:
    """Interval of the median of ``values`` (n,), in their unit; ValueError if there are none or one is not finite.

    Up to five values it is their range, whose exact coverage is ``1 - 2**(1 - n)``: 0.9375 at five,
    0.75 at three. From six it interpolates between order statistics at 95 %: Hettmansperger and
    Sheather, "Confidence intervals based on interpolated order statistics", Statistics & Probability
    Letters 4 (1986), 75-79.
    """
    ordered = sample_of(values)
    n = len(ordered)
    if n <= 5:
        return Interval(float(ordered[0]), float(ordered[-1]), true_coverage(n))
    depth, weight = _interpolation(n)
    low = (1 - weight) * ordered[depth - 1] + weight * ordered[depth]
    high = (1 - weight) * ordered[n - depth] + weight * ordered[n - depth - 1]
    return Interval(float(low), float(high), true_coverage(n))


@cache
def _interpolation(n: int) -> tuple[int, float]:
    """Depth d of the outer order statistic, and the weight of the next inner one."""

    def coverage(depth: int) -> float:
        return float(1 - 2 * stats.binom.cdf(depth - 1, n, 0.5))

    depth = 1
    while coverage(depth + 1) >= LEVEL:
        depth += 1
    excess = (coverage(depth) - LEVEL) / (coverage(depth) - coverage(depth + 1))
    return depth, (n - depth) * excess / (depth + (n - 2 * depth) * excess)


class Spread(NamedTuple):
    """Standard deviations of a score: over trainings by other seeds, and over other samples of one model."""

    seed_sd: float
    sampling_sd: float


def spread(values: ArrayLike, errors: ArrayLike) -> Spread | None:
    """What of the spread of ``values`` (n,) over seeds is the training, and what the samples that were drawn.

    The variance over seeds holds both: each score was computed from samples of its own. Taking the mean square of the
    sampling ``errors`` (n,) off leaves that of the training, 0 where nothing is left (the moment estimator of Hedges
    1983, "A random effects model for effect sizes"; unbiased but for that 0). None below two values, and where
    an error is not known. Of few seeds both are rough: at five, the variance over seeds is within a factor of 2 of the
    true one about two times of three.
    """
    scores, sds = np.asarray(values, float), np.asarray(errors, float)
    if len(scores) < 2 or not np.isfinite(sds).all():
        return None
    sampling = float(np.mean(sds**2))
    return Spread(max(float(np.var(scores, ddof=1)) - sampling, 0.0) ** 0.5, sampling**0.5)


def interquartile_mean(values: ArrayLike, seed: int = 0, resamples: int = 10_000) -> TrimmedMean | None:
    """Mean of the middle half of ``values`` (n,) with a percentile bootstrap interval; None below eight values.

    Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021),
    section 4.3. Below eight values the bootstrap covers well under 93 %. The order of ``values`` does
    not matter, and ``seed`` fixes the result.
    """
    sample = sample_of(values)
    if len(sample) < 8:
        return None

    draws = sample[np.random.default_rng(seed).integers(0, len(sample), (resamples, len(sample)))]
    low, high = np.percentile(stats.trim_mean(draws, 0.25, axis=1), [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2])
    return TrimmedMean(float(stats.trim_mean(sample, 0.25)), float(low), float(high))


def welch(a: ArrayLike, b: ArrayLike) -> float | None:
    """Two-sided p-value of Welch's t-test (Biometrika 34, 1947) between two samples, or None where it is undefined.

    Two samples without variance give 1 if they are equal; if they differ there is no t, and None. So
    does a single value on either side.
    """
    p = welch_pairs([sample_of(a), sample_of(b)], np.array([0]), np.array([1]))[0]
    return None if np.isnan(p) else float(p)


def welch_pairs(samples: Sequence[Floats], first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """``welch`` of the pairs ``(samples[first[i]], samples[second[i]])``, as one array; NaN where undefined."""
    sizes = np.array([len(s) for s in samples])
    # A mean of equal values can be an ulp off them, which would be a variance that is not there.
    constant = np.array([s.min() == s.max() for s in samples])
    means = np.array([s[0] if flat else s.mean() for s, flat in zip(samples, constant, strict=True)])
    spreads = np.array([0.0 if f or len(s) < 2 else s.std(ddof=1) for s, f in zip(samples, constant, strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.asarray(
            stats.ttest_ind_from_stats(
                means[first], spreads[first], sizes[first], means[second], spreads[second], sizes[second], False
            ).pvalue,
            dtype=np.float64,
        )
    both = constant[first] & constant[second]
    p = np.where(both, np.where(means[first] == means[second], 1.0, np.nan), p)
    return np.where((sizes[first] < 2) | (sizes[second] < 2), np.nan, p)


def permutation_pairs(samples: Sequence[Floats], first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Two-sided p-values of permutation tests on the difference of means of pairs of samples.

    That of ``(samples[first[i]], samples[second[i]])`` is the share of the ways to split both together into two of
    their sizes whose means differ at least as much. Exact whatever the distribution, failures and ties included, where
    the two samples come from one (Fisher, "The Design of Experiments", 1935, section 21; Pitman, "Significance
    Tests Which May Be Applied to Samples from Any Populations", 1937). All splits are
    counted up to 200,000 of them (10 + 10 values have 184,756); beyond, 100,000 seeded random ones b of which reach
    the difference give ``(b + 1) / (100,000 + 1)``, which is exact too (Phipson and Smyth, "Permutation P-values Should
    Never Be Zero", 2010).
    """
    found = np.empty(len(first))
    sizes = np.array([(len(samples[i]), len(samples[j])) for i, j in zip(first, second, strict=True)]).reshape(-1, 2)
    for n, m in np.unique(sizes, axis=0):
        inside, every = _splits(int(n), int(m))
        places = np.flatnonzero((sizes == (n, m)).all(axis=1))
        for start in range(0, len(places), _CHUNK):
            chosen = places[start : start + _CHUNK]
            pooled = np.array([np.concatenate([samples[first[i]], samples[second[i]]]) for i in chosen])
            pooled -= pooled.mean(axis=1, keepdims=True)  # the sum of a half is then its distance from equality
            seen = np.abs(pooled[:, :n].sum(axis=1))
            least = seen - 1e-9 * np.abs(pooled).sum(axis=1)  # equal sums may differ by rounding
            hits = (np.abs(inside @ pooled.T) >= least).sum(axis=0)
            found[chosen] = hits / len(inside) if every else (hits + 1) / (len(inside) + 1)
    return found


@lru_cache(maxsize=4)
def _splits(n: int, m: int) -> tuple[Floats, bool]:
    """Which of ``n + m`` values are in the first sample, ``(splits, n + m)`` of 0 and 1, and whether these are all."""
    every = comb(n + m, n) <= _MOST_SPLITS
    if every:
        chosen = np.array(list(combinations(range(n + m), n)))
    else:
        chosen = np.random.default_rng(0).random((_RANDOM_SPLITS, n + m)).argpartition(n - 1, axis=1)[:, :n]
    inside = np.zeros((len(chosen), n + m))
    inside[np.arange(len(chosen))[:, None], chosen] = 1.0
    return inside, every


def holm(p: ArrayLike) -> Floats:
    """Holm-adjusted p-values, in the order given.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6 (1979): the i-th smallest of m is multiplied by ``m - i + 1``, made monotone and cut at 1.
    """
    raw = np.asarray(p, dtype=np.float64)
    if np.isnan(raw).any():
        raise ValueError("a p-value is NaN")
    order = np.argsort(raw, kind="stable")
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)), 1.0)
    return adjusted


def superiority(a: ArrayLike, b: ArrayLike, direction: Literal["min", "max"] = "max") -> float:
    """Effect size P(A beats B) in [0, 1] over all pairs of a value of ``a`` and one of ``b``; a tie counts half.

    Vargha and Delaney, "A Critique and Improvement of the CL Common Language Effect Size" (2000),
    equation 2. With ``direction="min"`` the lower value wins.
    """
    x, y = sample_of(a), sample_of(b)
    difference = x[:, None] - y[None, :] if direction == "max" else y[None, :] - x[:, None]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def friedman(ranks: ArrayLike) -> Friedman:
    """Test whether k variants rank alike over N datasets, and which pairs differ. ``ranks`` is ``(N, k)``, k >= 3.

    Each row holds the ranks of one dataset, 1 to k, ties shared (``scipy.stats.rankdata``). Friedman, "A
    Comparison of Alternative Tests of Significance for the Problem of m Rankings" (1940), then Nemenyi
    (1963): a difference of average ranks over ``sqrt(k (k + 1) / 6 N)``, times the root of two, follows
    the studentized range of k with infinite degrees of freedom. As in Demsar, "Statistical Comparisons of
    Classifiers over Multiple Data Sets", JMLR 7 (2006), sections 3.2.1 and 3.2.2.
    """
    table = np.asarray(ranks, dtype=np.float64)
    datasets, k = table.shape
    if (table == table[:, :1]).all():
        return Friedman(0.0, 1.0, np.ones((k, k)), _critical_difference(datasets, k))
    found = stats.friedmanchisquare(*table.T)
    means = table.mean(axis=0)
    distance = np.abs(means[:, None] - means) / np.sqrt(k * (k + 1) / (6 * datasets))
    pairs = np.asarray(stats.studentized_range.sf(np.sqrt(2) * distance, k, np.inf), dtype=np.float64)
    return Friedman(float(found.statistic), float(found.pvalue), pairs, _critical_difference(datasets, k))


def _critical_difference(datasets: int, k: int) -> float:
    """Demsar 2006, section 3.2.2; his q is the studentized range's upper quantile over the root of two."""
    quantile = float(stats.studentized_range.isf(ALPHA, k, np.inf)) / np.sqrt(2)
    return float(quantile * np.sqrt(k * (k + 1) / (6 * datasets)))


def seeds_to_separate(
    a: ArrayLike, b: ArrayLike, tests: int = 1, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Seeds a side with which a two-sided t-test at ``alpha / tests`` would separate ``a`` from ``b``, or None.

    The smallest n whose power, from the noncentral t distribution with the observed difference in
    pooled standard deviations, reaches ``power`` (Cohen, "Statistical Power Analysis for the
    Behavioral Sciences", 1988, chapter 2). None without a difference or a variance, and above 10,000.
    """
    x, y = sample_of(a), sample_of(b)
    freedom = len(x) + len(y) - 2
    pooled = np.sqrt((((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum()) / freedom) if freedom else 0.0
    difference = abs(x.mean() - y.mean())
    if difference == 0 or pooled == 0:
        return None
    return _seeds(difference / pooled, alpha / tests, power)


def seeds_needed(a: ArrayLike, b: ArrayLike, tests: int = 1) -> SeedsNeeded | None:
    """``seeds_to_separate`` with its 95 % interval; None below ten values on a side, and where there is no estimate.

    The interval is that of the standardized difference, carried over: t has the noncentral t distribution whose shift
    is the true difference times ``sqrt(n m / (n + m))``, so the shifts at which the t that was found is the 2.5 and
    the 97.5 % quantile bound it (Hedges and Olkin, "Statistical Methods for Meta-Analysis", 1985, section 5.E).
    """
    x, y = sample_of(a), sample_of(b)
    if min(len(x), len(y)) < FEWEST_SEEDS_TO_PLAN or (value := seeds_to_separate(x, y, tests)) is None:
        return None
    freedom, root = len(x) + len(y) - 2, np.sqrt(len(x) * len(y) / (len(x) + len(y)))
    t = abs(stats.ttest_ind(x, y).statistic)

    def shift(share: float) -> float:
        """The shift at which t is exceeded with this probability."""
        return float(optimize.brentq(lambda s: stats.nct.sf(t, freedom, s) - share, -40, 2 * t + 40))

    least, most = (shift(share) / root for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    low = _seeds(most, ALPHA / tests, POWER)
    return SeedsNeeded(value, 2 if low is None else low, _seeds(least, ALPHA / tests, POWER) if least > 0 else None)


def _seeds(effect: float, alpha: float, power: float) -> int | None:
    # What the normal distribution says is near, and each test of a number takes a millisecond.
    near = 2 * ((stats.norm.isf(alpha / 2) + stats.norm.ppf(power)) / effect) ** 2
    return _smallest(lambda n: power_of(n, effect, alpha) >= power, round(min(near, _MOST_SEEDS)) + 2)


def power_of(n: int, effect: float, alpha: float) -> float:
    """Power of a two-sided t-test of two samples of ``n`` whose means are ``effect`` standard deviations apart."""
    return _power_beyond(float(stats.t.isf(alpha / 2, 2 * n - 2)), n, effect)


def power_of_welch(n: int, effect: float, alpha: float) -> float:
    """The same of Welch's test, of normal samples of equal variances.

    For equal n Welch's t is Student's, and only its degrees of freedom are fewer: ``(n - 1) / (w² + (1 - w)²)`` where
    w, the first share of the two variances, is independent of t and has the beta distribution with both parameters
    (n - 1) / 2. The mean over that is a sum over its quantiles.
    """
    w = stats.beta.ppf((np.arange(64) + 0.5) / 64, (n - 1) / 2, (n - 1) / 2)
    critical = np.asarray(stats.t.isf(alpha / 2, (n - 1) / (w**2 + (1 - w) ** 2)))
    return float(np.mean([_power_beyond(float(bound), n, effect) for bound in critical]))


def _power_beyond(critical: float, n: int, effect: float) -> float:
    """How likely Student's t of two samples of ``n`` exceeds a critical value in size."""
    freedom, shift = 2 * n - 2, effect * np.sqrt(n / 2)
    above, below = float(stats.nct.sf(critical, freedom, shift)), float(stats.nct.cdf(-critical, freedom, shift))
    # scipy's noncentral t gives NaN in tails: for a shift far above the critical value, where the power is 1, and for
    # what is below minus that value, where next to nothing is.
    if np.isnan(above) and shift > critical:
        return 1.0
    return above + (0.0 if np.isnan(below) else below)


def _smallest(enough: Callable[[int], bool], near: int) -> int | None:
    """Smallest n from 2 to 10,000 that is enough, for a condition that stays true once it is; sought from a guess."""
    high, step = min(max(near, 2), _MOST_SEEDS), 1
    if enough(high):
        while (low := max(high - step, 1)) > 1 and enough(low):
            high, step = low, 2 * step
    else:
        while not enough(above := min(high + step, _MOST_SEEDS)):
            if above == _MOST_SEEDS:
                return None
            high, step = above, 2 * step
        low, high = high, above
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
