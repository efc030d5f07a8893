from __future__ import annotations

import math

import numpy as np
import pytest

from ganbench.metrics import MetricError, NotApplicable, class_coverage, mode_coverage, recovered_mass
from ganbench.metrics.modes import ganbench_metrics

ANGLES = 2 * np.pi * np.arange(8) / 8
RING = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def ring(n: int, seed: int = 0, modes: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return RING[rng.integers(0, modes, n)] + 0.01 * rng.normal(size=(n, 2))


def test_samples_of_the_truth():
    scores = mode_coverage(ring(200_000), RING, 0.01)
    assert scores["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.001)  # 98.889 %
    assert scores["modes"] == 8.0
    assert 0.0 <= scores["mode_kl"] < 1e-3


def test_the_ball_is_closed_and_ends_at_three_deviations():
    centres = np.array([[0.0, 0.0], [8.0, 0.0]])
    samples = [[0.75, 0.0], [0.0, -0.75], [0.0, 0.7500001], [7.25, 0.0], [4.0, 0.0]]
    scores = mode_coverage(samples, centres, 0.25)
    assert scores["high_quality"] == 3 / 5
    assert scores["modes"] == 2.0
    assert scores["mode_kl"] == pytest.approx(2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3))


@pytest.mark.parametrize("reached", [1, 2, 5, 8])
def test_even_spread_over_some_modes(reached):
    scores = mode_coverage(np.repeat(RING[:reached], 7, axis=0), RING, 0.01)
    assert scores == {"modes": reached, "high_quality": 1.0, "mode_kl": pytest.approx(math.log(8 / reached), abs=1e-15)}


def test_no_sample_of_high_quality_is_the_worst():
    scores = mode_coverage(np.full((50, 2), 30.0), RING, 0.01)
    assert scores == {"modes": 0.0, "high_quality": 0.0, "mode_kl": math.log(8)}


@pytest.mark.parametrize(
    ("shares", "mass"),
    [
        ([1 / 8] * 8, 1.0),  # the shares of the data
        ([1 / 4] * 4 + [0] * 4, 0.5),
        ([1 / 2, 1 / 14, 1 / 14, 1 / 14, 1 / 14, 1 / 14, 1 / 14, 1 / 14], 5 / 8),
        ([1, 0, 0, 0, 0, 0, 0, 0], 1 / 8),
        ([0] * 8, 0.0),
        ([1 / 16] * 8, 0.5),  # half of the samples between the modes
    ],
)
def test_recovered_mass_is_the_overlap_of_two_histograms(shares, mass):
    n, inside = 112_000, 1 - math.exp(-4.5)
    counts = [round(n * inside * share) for share in shares]
    strays = np.full((n - sum(counts), 2), 30.0)
    samples = np.concatenate([np.repeat(RING, counts, axis=0), strays])
    assert recovered_mass(samples, RING, 0.01) == pytest.approx(mass, abs=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
@pytest.mark.parametrize("modes", [1, 4, 200])
def test_recovered_mass_of_the_data_lacks_what_chance_does(dimensions, modes):
    rng, n = np.random.default_rng(dimensions), 40_000
    centres = np.zeros((modes, dimensions))
    centres[:, 0] = 10 * np.arange(modes)
    samples = centres[rng.integers(0, modes, n)] + 0.1 * rng.normal(size=(n, dimensions))
    lacking = math.sqrt(modes / (2 * math.pi * n)) if modes > 1 else 0.0
    assert 1 - recovered_mass(samples, centres, 0.1) == pytest.approx(lacking, rel=0.25, abs=0.006)


def test_recovered_mass_puts_constructed_samples_in_their_order():
    truth = ring(20_000)
    centres = RING[np.argmin(((truth[:, None] - RING) ** 2).sum(-1), axis=1)]
    made = {
        "truth": truth,
        "narrower": centres + (truth - centres) / 2,
        "wider": centres + 1.5 * (truth - centres),
        "half": ring(20_000, modes=4),
        "far wider": centres + 3 * (truth - centres),
        "noise": np.random.default_rng(0).normal(size=(20_000, 2)),
        "constant": np.zeros((20_000, 2)),
    }
    scores = [recovered_mass(samples, RING, 0.01) for samples in made.values()]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.98 and scores[-2] < 0.01 and scores[-1] == 0
    assert scores[1] > scores[0] - 0.02  # what happens within a mode is not seen


def test_dropped_modes_and_noise():
    dropped = [mode_coverage(ring(2500, modes=kept), RING, 0.01) for kept in (8, 6, 3, 1)]
    assert [scores["modes"] for scores in dropped] == [8, 6, 3, 1]
    divergences = [scores["mode_kl"] for scores in dropped]
    assert divergences == pytest.approx([math.log(8 / kept) for kept in (8, 6, 3, 1)], abs=0.01)
    noise = np.random.default_rng(1).normal(size=(2500, 2))
    quality = [mode_coverage(ring(2500) + s * noise, RING, 0.01)["high_quality"] for s in (0, 0.01, 0.03, 0.1)]
    assert quality == sorted(quality, reverse=True) and quality[-1] < 0.1


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf])
def test_impossible_std(std):
    with pytest.raises(MetricError, match="std"):
        mode_coverage(RING, RING, std)


def test_a_class_needs_two_percent():
    predicted = np.repeat([0, 1, 2, 3], [90, 6, 2, 2])
    assert class_coverage(predicted, np.arange(10), 10)["modes"] == 4.0
    predicted = np.repeat([0, 1, 2, 3], [191, 6, 2, 1])
    assert class_coverage(predicted, np.arange(10), 10)["modes"] == 2.0


def test_one_sample_reaches_one_of_many_classes():
    assert class_coverage(np.arange(700), np.arange(1000), 1000)["modes"] == 700.0
    assert class_coverage(np.repeat([3, 999], [2599, 1]), np.arange(1000), 1000)["modes"] == 2.0


def test_class_divergence():
    real = np.repeat([0, 1], [25, 75])
    assert class_coverage(np.repeat([0, 1], [1, 3]), real, 2)["mode_kl"] == 0.0
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert class_coverage([0, 1], real, 2)["mode_kl"] == pytest.approx(expected)
    assert class_coverage([0], real, 2)["mode_kl"] == pytest.approx(math.log(4))
    # A class that no real sample has counts as one real sample.
    assert class_coverage([1, 1], np.zeros(99), 2)["mode_kl"] == pytest.approx(math.log(100))


@pytest.mark.parametrize("labels", [[], [0, 3], [-1], [0.5], [[0, 1]], [np.nan], ["cat"]])
def test_what_is_no_class(labels):
    with pytest.raises(MetricError, match="predicted"):
        class_coverage(labels, [0, 1], 3)
    with pytest.raises(MetricError, match="real_predicted"):
        class_coverage([0, 1], labels, 3)


def test_mode_kl_orders_stacked_digits_by_their_classes_though_one_in_thirty_is_mistaken():
    """At the sizes of stacked-digits: 26,000 samples, 1,000 modes, a classifier that is right on 97 %."""
    rng = np.random.default_rng(0)

    def seen(truth):
        mistaken = rng.random(len(truth)) < 0.03
        return np.where(mistaken, rng.integers(0, 1000, len(truth)), truth)

    real = seen(np.arange(26_000) % 1000)
    found = [class_coverage(seen(rng.integers(0, kept, 26_000)), real, 1000) for kept in (1000, 900, 500, 100, 10)]
    divergences = [scores["mode_kl"] for scores in found]
    assert divergences == sorted(divergences) and divergences[0] < 0.05
    assert divergences[2] == pytest.approx(math.log(2), rel=0.1)
    assert found[2]["modes"] > 600, "modes counts mistakes, so it does not rank"


def test_metrics_of_points(make_evidence):
    fake = ring(500, modes=3)
    evidence = make_evidence(fake, RING, RING, dataset={"centres": RING, "std": 0.01, "classes": 8})
    points = np.float32(fake)
    expected = {**mode_coverage(points, RING, 0.01), "recovered_mass": recovered_mass(points, RING, 0.01)}
    assert {metric.name: metric(evidence) for metric in ganbench_metrics()} == expected


def test_metrics_of_labelled_images(make_evidence):
    rng = np.random.default_rng(0)
    fake, real = np.eye(10)[rng.integers(0, 4, 300)], np.eye(10)[rng.integers(0, 10, 300)]
    x = np.zeros((300, 2))
    evidence = make_evidence(x, x, x, probabilities=(fake, real), dataset={"classes": 10})
    expected = class_coverage(fake.argmax(1), real.argmax(1), 10)
    metrics = {metric.name: metric for metric in ganbench_metrics()}
    assert expected["modes"] == 4.0
    assert {name: metrics[name](evidence) for name in ("modes", "mode_kl")} == expected
    with pytest.raises(NotApplicable, match="centres"):
        metrics["high_quality"](evidence)


@pytest.mark.parametrize(
    "dataset, probabilities, reason",
    [
        ({}, np.eye(10), "neither"),
        ({"classes": 10}, None, "no class probabilities"),
        ({"classes": 7}, np.eye(10), "10 classes"),
        ({"centres": RING}, None, "standard deviation"),
    ],
)
def test_not_applicable(make_evidence, dataset, probabilities, reason):
    x = np.zeros((10, 2))
    evidence = make_evidence(x, x, x, probabilities=(probabilities, probabilities), dataset=dataset)
    for metric in ganbench_metrics():
        with pytest.raises(NotApplicable, match=reason):
            metric(evidence)
