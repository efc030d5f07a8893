from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from torch_fidelity.metric_prc import calculate_precision_recall_full

from ganbench.metrics import density_coverage, manifold, manifold_scores, precision_recall
from ganbench.metrics.numerics import distances, float32_screen
from ganbench.metrics.numerics.pair import Pair


def by_definition(real: np.ndarray, fake: np.ndarray, k: int, density_k: int) -> dict[str, float]:
    """The four definitions, word by word, on squared distances of integers, which are exact."""
    real, fake = np.int64(real), np.int64(fake)

    def squared(a, b):
        return ((a[:, None] - b[None]) ** 2).sum(axis=2)

    def radii(points, k):
        return np.sort(squared(points, points), axis=1)[:, k]  # the point itself comes first, at 0

    between = squared(real, fake)
    inside = between < radii(real, density_k)[:, None]
    return {
        "precision": (between <= radii(real, k)[:, None]).any(axis=0).mean(),
        "recall": (between <= radii(fake, k)[None]).any(axis=1).mean(),
        "density": inside.sum() / (density_k * len(fake)),
        "coverage": inside.any(axis=1).mean(),
    }


SETS = {
    "plain": (300, 250, 16, 1.0, 0.3),
    "many to few": (400, 60, 8, 0.8, 0.0),
    "fewer rows than features": (60, 70, 200, 1.0, 0.02),
    "points": (500, 500, 2, 1.0, 0.1),
    "far from the origin": (200, 200, 6, 1.0, 0.1),
}


@pytest.mark.parametrize("n, m, d, scale, shift", SETS.values(), ids=SETS.keys())
@pytest.mark.parametrize("k", [1, 3, 5])
def test_agrees_with_torch_fidelity_and_prdc(n, m, d, scale, shift, k):
    rng = np.random.default_rng(n + d)
    offset = 1e3 if d == 6 else 0.0
    real, fake = rng.normal(size=(n, d)) + offset, scale * rng.normal(size=(m, d)) + shift + offset
    precision, recall = calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real), k)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = compute_prdc(real, fake, k)
    ours = precision_recall(real, fake, k)
    # Peers take the mean of flags in float32.
    assert ours == {"precision": pytest.approx(precision, rel=1e-6), "recall": pytest.approx(recall, rel=1e-6)}
    assert ours == {key: pytest.approx(theirs[key], rel=1e-12) for key in ("precision", "recall")}
    expected = {key: pytest.approx(theirs[key], rel=1e-12) for key in ("density", "coverage")}
    assert density_coverage(real, fake, k) == expected


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(7, 40),
    st.integers(7, 40),
    st.integers(1, 3),
    st.integers(1, 6),
    st.sampled_from([0, 10**6]),
)
def test_ties_and_copies_follow_the_definitions(seed, n, m, d, width, offset):
    rng = np.random.default_rng(seed)
    real, fake = rng.integers(0, width, (n, d)) + offset, rng.integers(0, width, (m, d)) + offset
    k, density_k = rng.integers(1, 7, 2)
    ours = manifold_scores(real, fake, int(k), int(density_k))
    assert ours == pytest.approx(by_definition(real, fake, k, density_k), rel=1e-12)
    assert precision_recall(real, fake, int(k)) == {key: ours[key] for key in ("precision", "recall")}
    assert density_coverage(real, fake, int(density_k)) == {key: ours[key] for key in ("density", "coverage")}


@pytest.mark.parametrize("block", [100, 5000, 2**20])
@pytest.mark.parametrize("width, d", [(4, 4), (9, 5), (40, 8)])
def test_many_ties_in_several_blocks(monkeypatch, block, width, d):
    monkeypatch.setattr(distances, "BLOCK", block)
    monkeypatch.setattr(float32_screen, "TILE", (max(8, block // 100), max(11, block // 90)))
    rng = np.random.default_rng(width)
    real, fake = rng.integers(0, width, (300, d)) / 1.0, rng.integers(0, width, (270, d)) / 1.0
    fake[:90] = real[:90]
    ours = manifold_scores(real + 0.5, fake + 0.5)
    assert ours == pytest.approx(by_definition(real, fake, 3, 5), rel=1e-12)


def test_a_set_with_itself():
    real = np.random.default_rng(0).normal(size=(400, 12)).astype(np.float32)
    assert manifold_scores(real, real) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    assert manifold_scores(real, real[::-1]) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}


def test_radius_zero_holds_copies_only_in_closed_balls():
    point = np.full((20, 3), 0.1)
    assert precision_recall(point, point) == {"precision": 1.0, "recall": 1.0}
    assert density_coverage(point, point) == {"density": 0.0, "coverage": 0.0}
    # k copies beside the point itself make the radius 0; k - 1 do not.
    far = np.arange(10.0)[:, None] * 100 + 50
    for copies, coverage in ((6, 0.0), (5, 5 / 15)):
        real = np.concatenate([np.zeros((copies, 1)), far])
        assert density_coverage(real, np.zeros((1, 1)), k=5)["coverage"] == coverage


def test_expected_values_for_one_distribution():
    rng = np.random.default_rng(5)
    n, m, k = 150, 200, 5
    runs = [density_coverage(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)), k) for _ in range(150)]
    # Whether a fake comes before the k-th real neighbour is a matter of ranks alone, for any distribution.
    coverage = 1 - math.prod((n - i) / (m + n - i) for i in range(1, k + 1))
    assert np.mean([run["coverage"] for run in runs]) == pytest.approx(coverage, abs=0.003)
    assert np.mean([run["density"] for run in runs]) == pytest.approx(1.0, abs=0.02)


def test_collapse_onto_one_point_far_below_the_resolution_of_products():
    rng = np.random.default_rng(6)
    real = rng.normal(size=(200, 8))
    fake = real[0] + 1e-9 * rng.normal(size=(200, 8))
    scores = manifold_scores(real, fake)
    assert scores["precision"] == 1.0
    assert scores["recall"] <= 1 / 200
    assert scores["coverage"] < 0.2


def test_an_outlier_does_not_hide_the_rest():
    rng = np.random.default_rng(7)
    real, fake = rng.integers(0, 5, (100, 2)), rng.integers(0, 5, (100, 2))
    expected = by_definition(real, fake, 3, 5)
    far = np.vstack([fake, [[1e30, 1e30]]])
    scores = manifold_scores(real, far)
    assert scores["coverage"] == expected["coverage"]
    assert scores["precision"] == pytest.approx(expected["precision"] * 100 / 101)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(6, 60), st.integers(6, 60), st.integers(1, 10))
def test_blind_to_order_and_within_range(seed, n, m, d):
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    scores = manifold_scores(real, fake)
    assert manifold_scores(rng.permutation(real), rng.permutation(fake)) == scores
    assert all(0.0 <= scores[key] <= 1.0 for key in ("precision", "recall", "coverage")) and scores["density"] >= 0.0


def test_noise_lowers_precision_and_dropped_modes_lower_recall():
    rng = np.random.default_rng(8)
    centres = 10.0 * rng.normal(size=(8, 6))
    mode = rng.integers(0, 8, 600)
    real, fake = centres[mode] + rng.normal(size=(600, 6)), centres[mode] + rng.normal(size=(600, 6))
    noisy = [manifold_scores(real, fake + level * rng.normal(size=fake.shape)) for level in (0.0, 1.0, 2.0, 4.0)]
    for key in ("precision", "density", "coverage"):
        values = [scores[key] for scores in noisy]
        assert values == sorted(values, reverse=True) and values[-1] < 0.5 * values[0]
    dropped = [manifold_scores(real, fake[mode < kept]) for kept in (8, 6, 3, 1)]
    for key in ("recall", "coverage"):
        values = [scores[key] for scores in dropped]
        assert values == sorted(values, reverse=True) and values[-1] < 0.3 * values[0]


def test_metrics_share_one_pass(make_evidence, monkeypatch):
    real, fake = np.random.default_rng(9).normal(size=(2, 50, 4))
    evidence = make_evidence(fake, real, real)
    metrics = {metric.name: metric for metric in manifold.ganbench_metrics()}
    expected = manifold_scores(real, fake)
    calls = []
    scan = Pair.scan
    monkeypatch.setattr(Pair, "scan", lambda *a: calls.append(a) or scan(*a))
    assert {name: metric(evidence) for name, metric in metrics.items()} == expected
    assert len(calls) == 1
