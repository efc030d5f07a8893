"""The float32 passes decide what float64 decides, however they are cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganbench.metrics import FeatureSet, manifold_scores
from ganbench.metrics.numerics import balls, distances, float32_screen, neighbours, pair
from ganbench.metrics.numerics.float32_screen import Frame, Screen, frame_of, plain_float32, screen_of, tiles
from ganbench.metrics.numerics.neighbours import Neighbours


def features(n: int, d: int, seed: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, d))
    if kind == "network":
        values = np.maximum(rng.normal(size=(n, 5)) @ rng.normal(size=(5, d)) + 0.3 * values, 0.0)
    elif kind == "low rank":
        values = rng.normal(size=(n, 2)) @ rng.normal(size=(2, d))
    elif kind == "offset":
        values += 100.0
    elif kind == "clusters":  # far tighter than float32 can tell at their distance from the centre
        values = 10.0 * rng.integers(0, 3, size=(n, 1)) + 1e-5 * values
    elif kind == "duplicates":
        values = values[rng.integers(0, n // 3, n)]
    elif kind == "grid":
        values = np.round(values)
    elif kind == "scales":
        values *= 10.0 ** rng.uniform(-6, 6, size=(n, 1))
    return values.astype(np.float32)


KINDS = ["plain", "network", "low rank", "offset", "clusters", "duplicates", "grid", "scales"]


def true_distances(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return distances.direct_distances(*(torch.from_numpy(np.float64(side)) for side in (one, two))).numpy()


def reference(real: np.ndarray, fake: np.ndarray, k: int, density_k: int) -> dict[str, float]:
    """The definitions on the whole matrices of float64 distances."""
    between = true_distances(real, fake)
    radii = {name: np.sort(true_distances(side, side), axis=1) for name, side in (("real", real), ("fake", fake))}
    inside = between < radii["real"][:, density_k, None]
    return {
        "precision": float((between <= radii["real"][:, k, None]).any(axis=0).mean()),
        "recall": float((between <= radii["fake"][:, k]).any(axis=1).mean()),
        "density": np.count_nonzero(inside) / (density_k * len(fake)),
        "coverage": float(inside.any(axis=1).mean()),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n, m, d", [(700, 600, 3), (650, 1300, 20), (200, 300, 400)])
def test_counts_are_those_of_float64(kind, n, m, d):
    real, fake = features(n, d, 0, kind), features(m, d, 1, kind)
    fake[:50] = real[:50]
    assert manifold_scores(real, fake) == reference(real, fake, 3, 5)
    double = np.float64(fake) * (1.0 + 1e-12)  # no longer what float32 holds
    assert manifold_scores(np.float64(real), double) == reference(real, double, 3, 5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.integers(8, 120),
    st.integers(8, 120),
    st.integers(1, 40),
    st.integers(4, 64),
    st.integers(4, 64),
    st.integers(1, 7),
    st.integers(1, 7),
)
def test_tiles_change_nothing(seed, kind, n, m, d, height, width, k, density_k):
    real, fake = features(n, d, seed, kind), features(m, d, seed + 1, kind)
    fake[: min(n, m) // 3] = real[: min(n, m) // 3]
    expected = reference(real, fake, k, density_k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(float32_screen, "TILE", (max(height, 8), width))
        patch.setattr(float32_screen, "CONVERTED", 64)
        patch.setattr(balls, "PENDING", 10)
        patch.setattr(neighbours, "KEPT", 4)
        assert manifold_scores(real, fake, k, density_k) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 17, 300])
def test_radii_are_float64_distances(kind, d):
    values = features(700, d, 2, kind)
    expected = np.sort(true_distances(values, values), axis=1)
    found = pair.real_radii(FeatureSet(values), 3, 5, 1)
    for k, radii in zip((3, 5, 1), found, strict=True):
        assert np.array_equal(radii, expected[:, k])


@pytest.mark.parametrize("kind", [*KINDS, "far", "tiny"])
@pytest.mark.parametrize("d", [2, 65, 1000])
def test_nearness_is_never_below_the_truth_and_never_above_its_slack(kind, d):
    one, two = features(150, d, 3, kind), features(140, d, 4, kind)
    if kind == "far":
        two += np.float32(1e4)
    elif kind == "tiny":
        one, two = one * np.float32(1e-30), two * np.float32(1e-30)
    frame = Frame(FeatureSet(one))
    left, right = (Screen(FeatureSet(side), frame) for side in (one, two))
    truth = -0.5 * (true_distances(one, two) * frame.scale) ** 2
    with plain_float32():
        for rows, columns, tile in tiles(left, right):
            gap = tile.double().numpy() - truth[rows, columns]
            assert gap.min() >= 0.0
            assert np.all(gap <= np.float64(left.slack[rows, None]) + right.slack[columns])


def test_thresholds_are_rounded_down():
    radii = np.random.default_rng(0).uniform(0, 3, 1000)
    assert np.all(float32_screen.threshold(radii, 0.5) < -0.5 * (0.5 * radii) ** 2)
    assert float32_screen.threshold(np.zeros(1), 1.0) < 0.0
    assert float32_screen.threshold(np.array([1e200]), 1.0) == -np.inf


@pytest.mark.parametrize("n, d", [(1500, 16), (1500, 64), (1200, 2048)])
def test_few_pairs_are_computed_twice(monkeypatch, n, d):
    pairs = []
    original = distances.pair_distances

    def counted(points, others, rows, columns):
        pairs.append(len(rows))
        return original(points, others, rows, columns)

    for module in (balls, neighbours):
        monkeypatch.setattr(module, "pair_distances", counted)
    real, fake = features(n, d, 0, "network"), features(n, d, 1, "network")
    manifold_scores(real, fake)
    assert 3 * n <= sum(pairs) < 5 * n  # one for each radius, and what float32 left open


def test_each_pair_of_a_set_is_seen_once(monkeypatch):
    monkeypatch.setattr(float32_screen, "TILE", (40, 70))
    values = FeatureSet(features(150, 4, 0, "plain"))
    seen = np.zeros((150, 150), dtype=int)
    for rows, columns, _ in tiles(screen_of(values, frame_of(values))):
        seen[rows, columns] += 1
    assert np.array_equal(np.triu(seen, 1) + np.tril(seen, -1).T > 0, np.triu(np.ones((150, 150), bool), 1))
    off_diagonal = np.array([i // 40 != j // 40 for i, j in itertools.product(range(150), repeat=2)]).reshape(150, 150)
    assert np.all((seen + seen.T)[off_diagonal] == 1)


def test_crowds_go_to_float64():
    point = np.repeat(features(3, 8, 0, "plain"), 500, axis=0)
    screen = screen_of(FeatureSet(point), Frame(FeatureSet(features(100, 8, 1, "plain"))))
    neighbours = Neighbours(screen, 3)
    for tile in tiles(screen):
        neighbours.add(*tile)
    assert neighbours.crowded and np.array_equal(neighbours.radii(3)[0], np.zeros(1500))


def test_a_callers_settings_do_not_reach_the_products():
    real, fake = features(700, 600, 0, "network"), features(600, 600, 1, "network")
    values = FeatureSet(real)
    screen = screen_of(values, frame_of(values))

    def first_tile() -> torch.Tensor:
        with plain_float32():
            return next(tiles(screen))[2].clone()

    expected, scores = first_tile(), manifold_scores(real, fake)
    before = torch.backends.mkldnn.matmul.fp32_precision
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(first_tile(), expected)
            assert manifold_scores(real, fake) == scores
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before


def test_threads_change_no_count():
    real, fake = features(1500, 65, 0, "network"), features(1400, 65, 1, "network")
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(manifold_scores(real, fake))
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == reference(real, fake, 3, 5)
