from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from ganbench.metrics import MetricError, NotApplicable, ms_ssim, similarities, similarity
from ganbench.metrics.similarity import WEIGHTS, MultiScaleSimilarity, scales_of


def smooth(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    coarse = torch.from_numpy(rng.uniform(0, 255, size=(n, 3, 6, 6)))
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 255).byte().numpy()


def test_equal_images_score_one():
    x = smooth(np.random.default_rng(0), 4, 64)
    assert ms_ssim(x, x) == pytest.approx(np.ones(4), abs=1e-12)
    assert similarities(np.repeat(x[:1], 5, axis=0), pairs=7) == pytest.approx(np.ones(7), abs=1e-12)


@pytest.mark.parametrize(
    "size, scales", [(32, 2), (43, 2), (44, 3), (64, 3), (87, 3), (88, 4), (175, 4), (176, 5), (999, 5)]
)
def test_scales_that_fit(size, scales):
    assert scales_of(size, size + 9) == scales_of(size + 9, size) == scales


def test_agrees_with_pytorch_msssim():
    peer = pytest.importorskip("pytorch_msssim")
    rng = np.random.default_rng(1)
    x = smooth(rng, 3, 192)
    y = np.uint8(np.clip(x + rng.normal(scale=25.0, size=x.shape), 0, 255))
    one, two = (torch.from_numpy(np.float64(part)) for part in (x, y))
    expected = peer.ms_ssim(one, two, data_range=255, size_average=False).numpy()
    assert expected.max() < 0.95
    # The weights of the paper sum to 1.0001, which the peer does not scale away.
    assert ms_ssim(x, y) == pytest.approx(expected ** (1 / sum(WEIGHTS)), rel=1e-5)


def test_one_constant_against_another_is_luminance_alone():
    # No structure: c s = 1 everywhere, and l = (2 a b + C1) / (a^2 + b^2 + C1) at the last scale.
    a, b, c1 = 80.0, 120.0, (0.01 * 255) ** 2
    luminance = (2 * a * b + c1) / (a * a + b * b + c1)
    weights = WEIGHTS[:2]
    images = [np.full((1, 1, 32, 32), value, dtype=np.uint8) for value in (80, 120)]
    assert ms_ssim(*images)[0] == pytest.approx(luminance ** (weights[1] / sum(weights)), rel=1e-10)


def test_falls_with_noise_and_is_symmetric():
    rng = np.random.default_rng(2)
    x = smooth(rng, 2, 48)
    noise = rng.normal(size=x.shape)
    values = [ms_ssim(x, np.uint8(np.clip(x + scale * noise, 0, 255))) for scale in (0, 5, 20, 60)]
    assert all((a > b).all() for a, b in pairwise(values))
    assert ms_ssim(x[:1], x[1:]) == pytest.approx(ms_ssim(x[1:], x[:1]), rel=1e-12)


def test_pairs_are_of_different_images_and_seeded():
    x = smooth(np.random.default_rng(3), 2, 32)
    assert similarities(x, pairs=50) == pytest.approx(np.full(50, ms_ssim(x[:1], x[1:])[0]), rel=1e-12)
    many = smooth(np.random.default_rng(4), 30, 32)
    first = similarities(many, pairs=20)
    assert np.array_equal(similarities(many, pairs=20), first)
    assert not np.array_equal(similarities(many, pairs=20, rng=1), first)


def test_collapse_raises_it():
    rng = np.random.default_rng(5)
    x = smooth(rng, 60, 32)
    collapsed = x[rng.integers(3, size=60)]
    assert similarities(collapsed, pairs=60).mean() > similarities(x, pairs=60).mean() + 0.2


def test_errors():
    good = np.zeros((3, 1, 32, 32), dtype=np.uint8)
    for bad in (good[0], good[..., :31], good[:0], np.full((3, 1, 32, 32), np.nan)):
        with pytest.raises(MetricError):
            ms_ssim(good[: len(bad)], bad)
    with pytest.raises(MetricError, match="shape"):
        ms_ssim(good, good[:2])
    with pytest.raises(MetricError, match="at least 2 images"):
        similarities(good[:1])


def test_metric_needs_images_of_32_pixels(make_evidence, monkeypatch):
    monkeypatch.setattr(similarity, "similarities", partial(similarities, pairs=30))
    x = smooth(np.random.default_rng(6), 9, 32)
    evidence = make_evidence(x, x, x, dataset={"shape": (3, 32, 32)})
    assert MultiScaleSimilarity()(evidence) == pytest.approx(similarities(np.float32(x), 30).mean())
    for shape in ((2,), (1, 28, 28), (3, 64, 31)):
        with pytest.raises(NotApplicable, match="32 pixels"):
            MultiScaleSimilarity()(make_evidence(x, x, x, dataset={"shape": shape}))
