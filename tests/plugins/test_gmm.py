"""The Gaussian mixture: it finds a mixture that is known, and large images fit in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ganbench_plugins.gmm import GMM
from sklearn.mixture import GaussianMixture

from ganbench.datasets.synthetic import ring_centres
from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.serialization import fingerprint, load, save
from ganbench.plugin import Batch, Clock
from ganbench.utils.pixels import from_uint8, to_uint8
from ganbench.utils.seeding import rng_state


def fed(variant: GMM, data: torch.Tensor, start: int = 0, stop: int | None = None) -> GMM:
    """Hand over ``data`` in batches of 64, from batch ``start`` on."""
    steps = len(data) // 64
    for i in range(start, steps if stop is None else stop):
        variant.train_step(Batch(data[64 * i : 64 * i + 64]), Clock(i, 64 * i, 64 * steps, i / steps, i + 1 == steps))
    return variant


def ring(n: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    centres = ring_centres()[rng.integers(8, size=n)]
    return torch.from_numpy((centres + 0.01 * rng.standard_normal((n, 2))).astype("float32"))


def test_it_recovers_the_ring() -> None:
    variant = fed(GMM(torch.Size((2,)), components=8), ring(1920))
    means = (variant.centre + variant.means @ variant.axes).numpy()
    nearest = np.linalg.norm(means[:, None] - ring_centres()[None], axis=2)
    assert sorted(nearest.argmin(1)) == list(range(8)) and nearest.min(1).max() < 0.003
    covariances = variant.factors @ variant.factors.transpose(1, 2)
    assert covariances.diagonal(dim1=1, dim2=2).sqrt().numpy() == pytest.approx(np.full((8, 2), 0.01), rel=0.2)
    assert variant.weights.numpy() == pytest.approx(np.full(8, 1 / 8), abs=0.03)
    x = variant.sample(2000, torch.Generator().manual_seed(0)).numpy()
    assert np.mean(np.linalg.norm(x[:, None] - ring_centres()[None], axis=2).min(1) < 0.03) > 0.97


def test_the_principal_axes_lose_nothing_where_all_are_kept() -> None:
    """In 6 dimensions it is scikit-learn's own fit in other axes: the same mean and covariance."""
    generator = torch.Generator().manual_seed(0)
    sign = (torch.rand(640, 1, 1, 1, generator=generator) > 0.5).float() - 0.5
    data = from_uint8(to_uint8(torch.randn(640, 1, 2, 3, generator=generator) * 0.1 + sign))
    variant = fed(GMM(torch.Size((1, 2, 3)), components=1), data)
    rows = data.flatten(1).double().numpy()
    peer = GaussianMixture(1).fit(rows)
    factor = (variant.factors[0].T @ variant.axes).double().numpy()
    assert factor.T @ factor == pytest.approx(peer.covariances_[0], abs=1e-4)
    x = variant.sample(20_000, torch.Generator().manual_seed(1)).flatten(1).double().numpy()
    assert x.mean(0) == pytest.approx(peer.means_[0], abs=0.02)
    assert np.cov(x.T) == pytest.approx(peer.covariances_[0], abs=0.02)


def test_few_dimensions_keep_the_directions_of_most_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(192, 5, generator=generator)).Q.T
    data = (torch.randn(640, 5, generator=generator) @ basis / 4).reshape(640, 3, 8, 8)
    variant = fed(GMM(torch.Size((3, 8, 8)), components=1, dimensions=5), data)
    x = variant.sample(5000, torch.Generator().manual_seed(0)).flatten(1)
    inside = (x - variant.centre) @ basis.T
    assert inside.var(0).numpy() == pytest.approx(np.full(5, 1 / 16), rel=0.2)
    assert ((x - variant.centre) - inside @ basis).abs().max() < 0.01  # nothing outside, but for 8-bit rounding


def test_it_fits_when_the_samples_have_doubled_or_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []
    monkeypatch.setattr(GMM, "fit", lambda self: (fits.append(len(self.kept)), setattr(self, "fitted", len(self.kept))))
    data = ring(900)
    fed(GMM(torch.Size((2,))), torch.cat([data, data, data]))
    assert fits == [64, 128, 256, 512, 900]
    fits.clear()
    fed(GMM(torch.Size((2,)), capacity=600), ring(64 * 30))
    assert fits == [64, 128, 256, 512, 600]
    fits.clear()
    fed(GMM(torch.Size((2,))), ring(64 * 11))  # the budget ends before the data do
    assert fits == [64, 128, 256, 512, 704]


def test_a_fit_survives_a_resume_and_touches_no_global_generator(tmp_path) -> None:
    data = ring(64 * 12)
    before = fingerprint(rng_state())
    whole = fed(GMM(torch.Size((2,)), components=8), data)
    assert fingerprint(rng_state()) == before
    for stop in (0, 3, 9, 12):
        save(tmp_path / "c", capture(fed(GMM(torch.Size((2,)), components=8), data, stop=stop)))
        second = GMM(torch.Size((2,)), components=8)
        restore(second, load(tmp_path / "c"))
        assert fingerprint(capture(fed(second, data, start=stop))) == fingerprint(capture(whole))


def test_the_largest_images_are_fitted_in_a_subspace() -> None:
    data = torch.rand(128, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    variant = fed(GMM(torch.Size((3, 64, 64)), components=2, dimensions=8), data)
    assert variant.factors.shape == (2, 8, 8) and variant.axes.shape == (8, 12288)
    assert torch.isfinite(variant.sample(2, torch.Generator().manual_seed(0))).all()
