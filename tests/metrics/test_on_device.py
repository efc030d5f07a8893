"""Pairs of rows are compared where the features lie: the CPU's counts, and nothing comes back before the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from ganbench.conformance.pretended_device import pretended
from ganbench.harness.real_data import RealData
from ganbench.metrics import FeatureSet, features_of, kernel_distance, manifold_scores, score_all
from ganbench.metrics.numerics import float32_screen, kernel_estimates, on_device, pair
from ganbench.plugin.interfaces import Dataset, Extractor

KINDS = ["plain", "network", "offset", "clusters", "duplicates", "same", "grid", "scales", "large", "tiny"]


def features(n: int, d: int, seed: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, d))
    if kind == "network":
        values = np.maximum(rng.normal(size=(n, 5)) @ rng.normal(size=(5, d)) + 0.3 * values, 0.0)
    elif kind == "offset":
        values += 100.0
    elif kind == "clusters":  # far tighter than float32 can tell at their distance from the centre
        values = 10.0 * rng.integers(0, 3, size=(n, 1)) + 1e-5 * values
    elif kind == "duplicates":
        values = values[rng.integers(0, n // 3, n)]
    elif kind == "same":
        values[:] = 1.0
    elif kind == "grid":
        values = np.round(values)
    elif kind == "scales":
        values *= 10.0 ** rng.uniform(-6, 6, size=(n, 1))
    elif kind == "large":
        values *= 1e20
    elif kind == "tiny":
        values *= 1e-30
    return values.astype(np.float32)


def on(device: str, *sets: np.ndarray) -> list[FeatureSet]:
    return [FeatureSet(values, device=device) for values in sets]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m", "d"), [(90, 140, 3), (150, 70, 40), (8, 9, 2)])
@pytest.mark.parametrize(("strip", "candidates", "device"), [(2**24, 64, "cuda"), (1000, 64, "mps"), (700, 1, "cuda")])
def test_counts_are_those_of_the_cpu(kind, n, m, d, strip, candidates, device, monkeypatch) -> None:
    real, fake = features(n, d, 0, kind), features(m, d, 1, kind)
    fake[:6] = real[:6]
    expected, radii = manifold_scores(real, fake, 3, 5), pair.real_radii(FeatureSet(real), 2, 7)
    monkeypatch.setattr(float32_screen, "STRIP", strip)
    monkeypatch.setattr(on_device, "CANDIDATES", candidates)
    with pretended(device):
        first, second = on(device, real, fake)
        assert manifold_scores(first, second, 3, 5) == expected
        screen = float32_screen.screen_of(first, float32_screen.frame_of(first)).on(first.device)
        with float32_screen.plain_float32():
            found = pair.real_radii(on(device, real)[0], 2, 7, screen=screen)
    assert all(np.array_equal(one, other) for one, other in zip(found, radii, strict=True))


@pytest.mark.parametrize("way", ["_from_sums", "_one_by_one"])
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_the_kernel_distance_is_that_of_the_cpu(way, device, monkeypatch) -> None:
    monkeypatch.setattr(kernel_estimates, "CHEAP", 0.0)
    size, subsets = (60, 10) if way == "_from_sums" else (40, 2)
    real, fake = features(300, 32, 0, "network"), features(200, 32, 1, "network")
    about: dict[str, Any] = {"subsets": subsets, "subset_size": size}
    plan = kernel_estimates.SubsetEstimates(FeatureSet(real), FeatureSet(fake), subsets, size, 2020)
    assert plan.way.__name__ == way
    expected = kernel_distance(real, fake, **about)
    monkeypatch.setattr(float32_screen, "STRIP", 3000)
    with pretended(device):
        first, second = on(device, real, fake)
        assert kernel_distance(first, second, **about) == pytest.approx(expected, rel=1e-6)
        third = on(device, fake)[0]  # the real side's sums are known by now
        assert kernel_distance(first, third, **about, balls=(3, 5)) == pytest.approx(expected, rel=1e-6)
        assert manifold_scores(first, third) == manifold_scores(real, fake)


def asked(strip: int, way: str, device: str = "cuda") -> dict[str, int]:
    """What scoring asks of a device, in all and by kind."""
    real, fake = features(400, 32, 0, "network"), features(300, 32, 1, "network")
    with pytest.MonkeyPatch.context() as patch, pretended(device) as seen:
        patch.setattr(float32_screen, "STRIP", strip)
        if way != "cheap":
            patch.setattr(kernel_estimates, "CHEAP", 0.0)
        score_all(*on(device, real, fake), subsets=10, subset_size=200 if way == "_from_sums" else 30)
        return {name: sum(counter.values()) for name, counter in vars(seen).items()}


@pytest.mark.parametrize("way", ["cheap", "_from_sums", "_one_by_one"])
def test_nothing_waits_and_nothing_comes_back_for_each_strip(way) -> None:
    few, many = asked(2**24, way), asked(2**12, way)
    assert many["kernels"] > 5 * few["kernels"] or way == "_one_by_one"  # whose pairs of subsets are many anyway
    for name in ("waits", "to_host", "to_device", "nondeterministic"):
        assert few[name] == many[name], name
    assert few["waits"] == few["nondeterministic"] == 0 and 0 < few["to_host"] <= 14


def test_without_float64_the_pass_that_sums_kernels_is_made_on_the_cpu() -> None:
    assert asked(2**24, "_from_sums", "mps")["kernels"] == 0 < asked(2**24, "cheap", "mps")["kernels"]


def test_products_are_made_in_float32_whatever_the_process_has_chosen(monkeypatch) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    switches = torch.backends.mkldnn.matmul, torch.backends.cuda.matmul  # type: ignore[attr-defined]
    before = [switch.fp32_precision for switch in switches]
    multiply = float32_screen.Screen.left

    def noted(self, rows):
        seen[tuple(switch.fp32_precision for switch in switches)] += 1
        return multiply(self, rows)

    monkeypatch.setattr(float32_screen.Screen, "left", noted)
    try:
        switches[1].fp32_precision = "tf32"
        with pretended("cuda"):
            manifold_scores(*on("cuda", features(50, 4, 0, "plain"), features(50, 4, 1, "plain")))
        assert set(seen) == {("ieee", "ieee")} and switches[1].fp32_precision == "tf32"
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


def test_features_on_a_gpu_are_taken_as_they_are() -> None:
    real, fake = features(100, 4, 0, "plain"), features(100, 4, 1, "plain")
    expected = score_all(real, fake)
    with pretended("cuda") as seen:
        first, second = (FeatureSet(torch.from_numpy(values).to("cuda:1")) for values in (real, fake))
        assert str(first.device) == "cuda:1" and first.values.dtype == np.float32
        assert score_all(first, second) == pytest.approx(expected, rel=1e-12)
        assert seen.kernels["topk"] == 3
        assert score_all(first, fake) == pytest.approx(expected, rel=1e-12)  # one side on the CPU


class Double(Extractor):
    def __call__(self, batch):
        return 2.0 * batch, None


def test_a_trials_features_are_compared_on_its_device() -> None:
    points = features(60, 2, 0, "plain")
    dataset = Dataset("points", (2,), None, "fid", 960, lambda split: (points, None))
    with pretended("cuda"):
        real = RealData(dataset, Double("double", 2, "0" * 64), samples=30, device="cuda:1")
        assert real.held_out.device == "cuda:1" == str(features_of(real.held_out).device)
        assert real.held_out.copy().device == "cuda:1"
    assert RealData(dataset, Double("double", 2, "0" * 64), samples=30).held_out.device == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_counts_what_the_cpu_counts(kind) -> None:
    real, fake = features(3000, 200, 0, kind), features(2500, 200, 1, kind)
    fake[:100] = real[:100]
    first, second = on("cuda", real, fake)
    assert manifold_scores(first, second) == manifold_scores(real, fake)
    if kind in ("plain", "network"):
        about = {"subsets": 10, "subset_size": 1000}
        assert kernel_distance(first, second, **about) == pytest.approx(kernel_distance(real, fake, **about), rel=1e-5)
