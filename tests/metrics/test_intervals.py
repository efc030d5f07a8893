from __future__ import annotations

from importlib.metadata import entry_points

import numpy as np
import pytest
from scipy.stats import binom

from ganbench.metrics import (
    FeatureSet,
    MetricError,
    balanced_accuracy,
    bootstrap,
    frechet_distance,
    inception_score,
    roc_auc,
)
from ganbench.metrics.inception import inception_interval
from ganbench.metrics.intervals import jackknife_sd, resampled_means
from ganbench.plugin.interfaces import Metric, Scores


def test_the_interval_of_a_mean_is_the_normal_one():
    x = np.random.default_rng(0).normal(size=2000)
    low, high = bootstrap(np.mean, x)
    assert (low, high) == pytest.approx(x.mean() + np.array([-1.96, 1.96]) * x.std() / 2000**0.5, abs=0.006)
    narrow = bootstrap(np.mean, x, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_it_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    intervals = [bootstrap(np.mean, rng.normal(size=60), draws=200, rng=i) for i in range(300)]
    assert 0.90 <= np.mean([low <= 0.0 <= high for low, high in intervals]) <= 0.98


def test_sides_are_resampled_apart():
    real, fake = np.random.default_rng(2).normal(size=(2, 100))
    low, high = bootstrap(lambda a, b: float(np.mean(a) - np.mean(b)), real, fake)
    assert high - low == pytest.approx(2 * 1.96 * (real.var() / 100 + fake.var() / 100) ** 0.5, rel=0.1)


def test_the_bootstrap_of_the_frechet_distance_is_biased():
    """Why it is not offered: the interval does not even contain the value."""
    real, fake = np.random.default_rng(3).normal(size=(2, 200, 16))
    low, _ = bootstrap(frechet_distance, real, fake, draws=100)
    assert low > frechet_distance(real, fake)


def test_seeded():
    x = np.random.default_rng(4).normal(size=50)
    assert bootstrap(np.median, x) == bootstrap(np.median, x)
    assert bootstrap(np.median, x) != bootstrap(np.median, x, rng=1)


@pytest.mark.parametrize("arrays, level", [([], 0.9), ([[]], 0.9), ([3.0], 0.9), ([[1.0]], 1.0), ([[1.0]], 0.0)])
def test_errors(arrays, level):
    with pytest.raises(MetricError):
        bootstrap(np.mean, *arrays, level=level)
    with pytest.raises(MetricError, match="draws"):
        bootstrap(np.mean, [1.0], draws=0)


def offered() -> dict[str, Metric]:
    points = [p for p in entry_points(group="ganbench") if p.value.startswith("ganbench.metrics.")]
    return {m.name: m for point in points for m in point.load().ganbench_metrics()}


def test_intervals_of_metrics(make_evidence):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 2))
    p = rng.dirichlet(np.full(5, 0.3), size=300)
    scores = Scores(*(rng.normal(loc, size=250) for loc in (1.0, 0.5, 0.0)), threshold=0.2)
    evidence = make_evidence(x, x, x, probabilities=(p, p), scores=scores)
    metrics = offered()
    for name in ("precision", "authenticity", "high_quality"):
        share = metrics[name].interval(evidence, 0.8)
        assert share == pytest.approx([binom.ppf(q, 300, 0.8) / 300 for q in (0.025, 0.975)], abs=0.01)
    for name, value in (
        ("is", inception_score(p)[0]),
        ("d_auc", roc_auc(scores.test, scores.fake)),
        ("d_auc_train", roc_auc(scores.train, scores.fake)),
        ("d_accuracy", balanced_accuracy(scores.test, scores.fake, 0.2)),
    ):
        low, high = metrics[name].interval(evidence, value)
        assert low < value < high and high - low < 0.3


def test_the_fast_bootstrap_of_the_inception_score_is_the_plain_one():
    p = np.random.default_rng(7).dirichlet(np.full(6, 0.4), size=400)
    plain = bootstrap(lambda rows: inception_score(rows)[0], p, draws=1000, rng=1)
    assert inception_interval(p) == pytest.approx(plain, abs=0.2 * (plain[1] - plain[0]))
    halves = inception_interval(p, splits=2)  # each half has its own marginal, and so the mean score is another
    value = inception_score(p, splits=2)[0]
    assert halves[0] < value < halves[1] and halves != inception_interval(p)


def test_the_interval_of_the_inception_score_covers_it_with_many_classes():
    """Other draws of as many rows score within it as often as it says; the plain percentiles lie below them all."""
    rng = np.random.default_rng(10)
    draws = [np.float32(rng.dirichlet(np.full(200, 0.05), size=300)) for _ in range(40)]
    expected = np.mean([inception_score(p)[0] for p in draws])
    found = [inception_interval(p) for p in draws]
    assert 0.85 <= np.mean([low <= expected <= high for low, high in found]) <= 1.0
    assert bootstrap(lambda rows: inception_score(rows)[0], draws[0], draws=100)[1] < inception_score(draws[0])[0]


def test_means_of_resamples_are_those_of_their_rows():
    rows = np.random.default_rng(8).normal(size=(30, 3))
    means = np.concatenate(list(resampled_means(rows, np.random.default_rng(9), draws=250)))
    state = np.random.default_rng(9)
    expected = [rows[state.integers(30, size=30)].mean(axis=0) for _ in range(250)]
    assert np.allclose(means, expected, atol=1e-14)


@pytest.mark.parametrize(
    "name",
    ["fid", "fid_inf", "intra_fid", "kid", "sliced_wasserstein", "recall", "density", "coverage", "modes", "mode_kl"]
    + ["vendi", "prd", "near_duplicates", "duality_gap"],
)
def test_none_where_copies_of_rows_count(name, make_evidence):
    x = np.ones((5, 2))
    assert offered()[name].interval(make_evidence(x, x, x), 0.5) is None


def test_per_sample_terms_are_those_of_the_metric(make_evidence, monkeypatch):
    terms = np.random.default_rng(6).exponential(size=400)
    x = np.ones((5, 2))
    for name in ("ms_ssim", "smoothness", "cas", "d_probe"):
        evidence = make_evidence(x, x, x)
        monkeypatch.setattr(evidence, "once", lambda compute: terms)
        assert offered()[name].interval(evidence, terms.mean()) == bootstrap(np.mean, terms)


def test_a_jackknife_of_a_mean_is_the_standard_error_of_the_groups_means():
    values = np.random.default_rng(3).normal(size=200)
    groups = np.array([values[g::10].mean() for g in range(10)])
    found = jackknife_sd(lambda kept: float(values[kept].mean()), 200)
    assert found == pytest.approx(groups.std(ddof=1) / 10**0.5, rel=1e-12)


def test_a_jackknife_of_a_share_is_binomial():
    """sqrt(p (1 - p) / n) over many draws, which ten groups each estimate within 24 %."""
    rng = np.random.default_rng(4)
    draws = rng.random((400, 300)) < 0.2
    found = [jackknife_sd(lambda kept, row=row: float(row[kept].mean()), 300) for row in draws]
    assert np.mean(np.square(found)) == pytest.approx(0.2 * 0.8 / 300, rel=0.05)


@pytest.mark.parametrize("shift, most", [(1.0, 1.15), (0.0, 2.5)])
def test_a_jackknife_of_fid_is_its_spread_over_samples_and_too_wide_only_at_the_floor(shift, most):
    rng = np.random.default_rng(5)
    real = FeatureSet(rng.normal(size=(1000, 8)))
    draws = [rng.normal(size=(400, 8)) * (1 + 0.3 * shift) + shift for _ in range(60)]
    spread = np.std([frechet_distance(real, fake) for fake in draws], ddof=1)
    found = [jackknife_sd(lambda kept, fake=fake: frechet_distance(real, fake[kept]), 400) for fake in draws[:30]]
    assert 0.85 < np.sqrt(np.mean(np.square(found))) / spread < most


def test_a_jackknife_needs_a_sample_in_every_group_and_a_number_of_each():
    with pytest.raises(MetricError, match="10 groups"):
        jackknife_sd(lambda kept: 0.0, 9)
    with pytest.raises(MetricError, match="not finite"):
        jackknife_sd(lambda kept: float("nan"), 20)
