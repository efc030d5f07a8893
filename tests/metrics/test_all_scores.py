from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from ganbench.metrics import (
    FeatureSet,
    MetricError,
    all_scores,
    features_of,
    frechet_distance,
    inception_score,
    kernel_distance,
    manifold_scores,
    score_all,
)
from ganbench.metrics.numerics import float32_screen, gaussian, kernel_estimates, pair, threads
from ganbench.plugin.interfaces import Side


def sets(n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + d)
    real, fake = np.float32(rng.normal(size=(n, d))), np.float32(1.1 * rng.normal(size=(m, d)) + 0.1)
    return real, fake, rng.dirichlet(np.full(10, 0.3), m)


summed = gaussian.Gaussian._summed


def one_by_one(real, fake, probabilities, size: int) -> dict[str, float]:
    scores = {"fid": frechet_distance(real, fake)}
    scores["is"], scores["is_std"] = inception_score(probabilities, 4)
    scores["kid"], scores["kid_std"] = kernel_distance(real, fake, subset_size=size)
    return scores | manifold_scores(real, fake)


@pytest.mark.parametrize("n, m, d, size", [(300, 300, 16, 1000), (400, 300, 16, 200), (700, 640, 200, 300)])
@pytest.mark.parametrize("shared", [False, True])
def test_the_same_bits_as_one_by_one(monkeypatch, n, m, d, size, shared):
    if d == 200:
        monkeypatch.setattr(kernel_estimates, "CHEAP", 0)
    real, fake, probabilities = sets(n, m, d)
    known = FeatureSet(real) if shared else real
    expected = one_by_one(real, fake, probabilities, size)
    for _ in range(2):
        assert score_all(known, fake, probabilities, subset_size=size, splits=4) == expected
    without = score_all(known, fake, subset_size=size)
    assert without == {key: value for key, value in expected.items() if not key.startswith("is")}


def test_one_pass_serves_balls_and_kernel_and_the_real_side_is_seen_once(monkeypatch):
    monkeypatch.setattr(kernel_estimates, "CHEAP", 0)
    seen = []
    original = float32_screen.strips

    def counted(points, others=None):
        seen.append((len(points.half), others and len(others.half)))
        return original(points, others)

    for module in (pair, float32_screen):
        monkeypatch.setattr(module, "strips", counted)
    real, fake, _ = sets(700, 640, 200)
    known = FeatureSet(real)
    score_all(known, fake, subset_size=300)
    assert sorted(seen, key=str) == [(640, None), (700, 640), (700, None)]
    seen.clear()
    score_all(known, fake[::-1], subset_size=300)
    assert seen == [(640, None), (700, 640)]


@pytest.mark.parametrize("n, m, d", [(1300, 1200, 10), (1300, 1200, 200), (1100, 1500, 600)])
def test_threads_change_no_bit(monkeypatch, n, m, d):
    """Third moments, kernel sums in tiles, fewer rows than features' square: whatever is cut into parts."""
    monkeypatch.setattr(kernel_estimates, "CHEAP", 0)
    monkeypatch.setattr(float32_screen, "TILE", (128, 256))
    real, fake, probabilities = sets(n, m, d)
    expected = score_all(real, fake, probabilities, subset_size=300, splits=4)
    before = torch.get_num_threads()
    try:
        for number in (2, 3, 8):
            torch.set_num_threads(number)
            assert score_all(real, fake, probabilities, subset_size=300, splits=4) == expected
            assert one_by_one(real, fake, probabilities, 300) == expected
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(before)


def test_an_error_in_one_thread_is_raised_and_threads_are_put_back(monkeypatch):
    real, fake, _ = sets(300, 250, 5)

    def broken(*_):
        raise MetricError("no distance")

    monkeypatch.setattr(all_scores, "frechet_distance", broken)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(MetricError, match="no distance"):
            score_all(real, fake)
        assert torch.get_num_threads() == 2 and threads.count() == 1
    finally:
        torch.set_num_threads(before)


def test_parts_of_work_come_back_in_their_order_on_threads_of_their_own():
    def part(number):
        time.sleep(0.01 * (5 - number))
        return number, threading.get_ident(), torch.get_num_threads()

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = threads.run_all([partial(part, number) for number in range(5)])
        assert [number for number, _, _ in found] == [0, 1, 2, 3, 4] and {inside for _, _, inside in found} == {1}
        assert 2 <= len({thread for _, thread, _ in found}) <= 3
        torch.set_num_threads(1)
        assert {thread for _, thread, _ in threads.run_all([partial(part, 0), partial(part, 1)])} == {
            threading.get_ident()
        }
    finally:
        torch.set_num_threads(before)


def test_a_side_is_wrapped_once():
    side = Side(np.zeros((5, 2)), np.eye(5))
    assert features_of(side) is features_of(side)
    assert features_of(side).values is side.features
    calls = []
    for _ in range(2):
        assert side.once(lambda s: len(s.features)) == 5
        assert side.once(calls.append) is None
    assert calls == [side]


@pytest.mark.parametrize("n, m", [(5, 9), (9, 3)])
def test_too_few_rows(n, m):
    with pytest.raises(MetricError, match="rows"):
        score_all(*sets(n, m, 4)[:2])


def test_arrays_and_sets_are_told_apart_by_nothing():
    real, fake, _ = sets(60, 50, 3)
    assert frechet_distance(FeatureSet(real), FeatureSet(fake)) == frechet_distance(real, fake)
    real.flags.writeable = False
    assert frechet_distance(real, fake) == frechet_distance(real.copy(), fake)
    with pytest.raises(MetricError, match="4 features a row and fake 3"):
        score_all(FeatureSet(np.zeros((60, 4))), fake)
    with pytest.raises(MetricError, match="not finite"):
        FeatureSet(np.full((3, 2), np.nan))


def test_exported_arrays_spare_the_work_and_give_the_same_bits(monkeypatch):
    real, fake, _ = sets(400, 300, 150)
    first, second = FeatureSet(real), FeatureSet(real)
    assert first.export_arrays() == {}
    expected = score_all(first, fake)
    arrays = first.export_arrays()
    assert set(arrays) == {"mean", "covariance", "cholesky", "radii.3", "radii.5"}
    second.import_arrays({name: array.copy() for name, array in arrays.items()})
    monkeypatch.setattr(gaussian.lapack, "dpotrf", None)
    monkeypatch.setattr(
        gaussian.Gaussian, "_summed", lambda self: pytest.fail() if self.features is second else summed(self)
    )
    assert score_all(second, fake) == expected
    assert all(np.array_equal(array, arrays[name]) for name, array in second.export_arrays().items())


def test_monotone_under_noise_blur_and_dropped_modes():
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16.0
    real, images, labels = images[:800].reshape(800, -1), images[800:1600], labels[800:1600]
    rng = np.random.default_rng(0)
    noise = rng.normal(size=images.shape)
    worse = {
        "noise": [images + level * noise for level in (0.0, 0.5, 0.8, 1.2)],
        "blur": [gaussian_filter(images, (0, level, level)) for level in (0.0, 0.7, 1.0, 1.5)],
        "dropped": [images[np.isin(labels, range(kept))][:300] for kept in (10, 6, 3, 1)],
    }
    for name, steps in worse.items():
        scores = [score_all(real, step.reshape(len(step), -1)) for step in steps]
        for key in ("fid", "kid"):
            values = [score[key] for score in scores]
            assert values == sorted(values) and values[-1] > 3 * values[0], (name, key)
        values = [score["recall" if name == "dropped" else "coverage"] for score in scores]
        assert values == sorted(values, reverse=True) and values[-1] < 0.6 * values[0], name
