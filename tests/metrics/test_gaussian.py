"""The Frechet distance with many features: eigenvalues where they are as good as singular values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from ganbench.metrics import FeatureSet, frechet_distance, trace_of_covariance
from ganbench.metrics.numerics import gaussian


def by_singular_values(real: np.ndarray, fake: np.ndarray) -> float:
    def factor(side: np.ndarray) -> np.ndarray:
        deviations = (side - side.mean(0)) / np.sqrt(len(side) - 1)
        return np.linalg.qr(deviations, mode="r") if len(side) > side.shape[1] else deviations

    real, fake = np.float64(real), np.float64(fake)
    a, b = factor(real), factor(fake)
    shift = real.mean(0) - fake.mean(0)
    return shift @ shift + (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()


def spectral(n: int, d: int, seed: int, decay: float, offset: float = 0.0) -> np.ndarray:
    """Rectified features whose spectrum falls by exp(-decay)."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(d, d)) / d**0.5 * np.exp(-decay * np.arange(d) / d)[:, None]
    return np.float32(np.maximum(rng.normal(size=(n, d)) @ mixing + 0.1 * (1 + seed), 0.0) + offset)


@pytest.fixture
def decompositions(monkeypatch):
    """The names of the decompositions that were asked for."""
    asked: list[str] = []
    for name in ("svdvals", "eigvalsh"):
        original = getattr(torch.linalg, name)
        monkeypatch.setattr(torch.linalg, name, lambda *a, _f=original, _n=name, **k: asked.append(_n) or _f(*a, **k))
    return asked


@pytest.mark.parametrize("n, m", [(900, 800), (900, 100), (100, 900), (140, 130), (151, 150), (150, 151), (2, 900)])
@pytest.mark.parametrize("decay, offset", [(2.0, 0.0), (6.0, 0.0), (2.0, 1000.0)])
def test_eigenvalues_give_what_singular_values_give(decompositions, n, m, decay, offset):
    real, fake = spectral(n, 150, 0, decay, offset), spectral(m, 150, 1, decay, offset)
    expected = by_singular_values(real, fake)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-10)
    assert decompositions == ["eigvalsh"]
    one, two = (fid_features_to_statistics(torch.from_numpy(np.float64(side))) for side in (real, fake))
    peer = fid_statistics_to_metric(one, two, verbose=False)[KEY_METRIC_FID]
    traces = trace_of_covariance(real) + trace_of_covariance(fake)
    assert abs(expected - peer) <= (1e-6 if min(n, m) > 150 else 1e-5) * max(peer, 1e-3 * traces)


@pytest.mark.parametrize("decay", [8.0, 14.0, 20.0, 30.0])
@pytest.mark.parametrize("n, m", [(400, 380), (140, 130), (400, 120), (120, 400)])
def test_a_steep_spectrum_costs_no_digit(n, m, decay):
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(150, 150)))[0]
    scales = np.exp(-decay * np.arange(150) / 150)
    real, fake = (rng.normal(size=(rows, 150)) * scales @ basis for rows in (n, m))
    traces = trace_of_covariance(real) + trace_of_covariance(fake)
    assert abs(frechet_distance(real, fake) - by_singular_values(real, fake)) <= 2e-10 * traces


def test_singular_covariances_go_by_singular_values(decompositions):
    real, fake = spectral(900, 150, 0, 2.0), spectral(800, 150, 1, 2.0)
    real[:, 5] = 0.0
    fake[:, 10:90] = fake[:, 9:10]
    for one, two in ((real, fake), (fake, real), (real, real), (real[:100], np.repeat(fake[:20], 5, axis=0))):
        decompositions.clear()
        traces = trace_of_covariance(one) + trace_of_covariance(two)
        assert abs(frechet_distance(one, two) - by_singular_values(one, two)) <= 1e-12 * traces
        assert decompositions[-1] == "svdvals"


@pytest.mark.parametrize("n", [100, 700])
def test_a_set_with_itself_is_zero(n):
    values = spectral(n, 150, 0, 3.0, offset=100.0)
    assert 0.0 <= frechet_distance(values, values[::-1]) <= 1e-10 * trace_of_covariance(values)


@pytest.mark.parametrize("n", [100, 700])
def test_closed_form(n):
    values = np.random.default_rng(0).normal(size=(n, 150))
    expected = 150 * 0.3**2 + trace_of_covariance(values) * (1 - 2.5) ** 2
    assert frechet_distance(values, 2.5 * values[::-1] + 0.3 + 1.5 * values.mean(0) * -1) == pytest.approx(
        expected, rel=1e-10
    )


def test_mean_and_trace_of_streamed_features(monkeypatch):
    monkeypatch.setattr(gaussian, "SUMMED_ROWS", 64)
    values = spectral(500, 150, 0, 2.0, offset=1000.0)
    fitted = gaussian.gaussian_of(FeatureSet(values))
    assert fitted.streamed
    assert fitted.mean.numpy() == pytest.approx(np.float64(values).mean(0), rel=1e-14)
    covariance = np.tril(np.cov(np.float64(values), rowvar=False))
    assert np.tril(fitted.covariance) == pytest.approx(covariance, abs=1e-12 * covariance.max())


def test_the_real_factor_is_made_once(monkeypatch):
    made = []
    original = gaussian.lapack.dpotrf
    monkeypatch.setattr(gaussian.lapack, "dpotrf", lambda *a, **k: made.append(1) or original(*a, **k))
    real = FeatureSet(spectral(400, 150, 0, 2.0))
    values = [frechet_distance(real, spectral(400, 150, seed, 2.0)) for seed in (1, 2, 1)]
    assert values[0] == values[2] != values[1] and len(made) == 1
