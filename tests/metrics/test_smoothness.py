from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch_fidelity.noise import batch_slerp_any

from ganbench.harness.metric_values import apply
from ganbench.metrics import MetricError, path_steps
from ganbench.metrics.smoothness import EPSILON, Smoothness, spherical_interpolation
from ganbench.plugin.interfaces import Extractor
from ganbench.plugin.variant import Variant


class Plain(Extractor):
    """Whatever it is given, flat."""

    name, size, weights_hash = "plain", 1, "0"

    def __call__(self, batch):
        return batch.flatten(1).float(), None


class Planted(Variant):
    """A linear map into the plane."""

    name = "planted"

    def __init__(self, scale: float, latent_dim: int = 32) -> None:
        super().__init__(torch.Size((2,)), latent_dim=latent_dim, scale=scale)
        self.register_buffer("matrix", scale * torch.eye(latent_dim)[:2])

    def generate(self, z):
        return z[:, : self.latent_dim] @ self.matrix.T


def at(evidence_of, variant, **more):
    x = np.zeros((5, 2))
    return evidence_of(x, x, x, variant=variant, extractor=Plain(), seed=3, **more)


def orthogonal(n: int, d: int, radius: float) -> tuple[torch.Tensor, torch.Tensor]:
    ends = radius * torch.eye(d, dtype=torch.float64)
    return ends[:n], ends[n : 2 * n]


@pytest.mark.parametrize("epsilon", [1e-4, 1e-2, 0.3])
def test_a_linear_generator_between_orthogonal_latents(epsilon):
    # A quarter of a circle of radius r: a step is a chord 2 r sin(pi/4 e), whatever its place.
    r, scale = 5.0, 3.0
    first, second = orthogonal(6, 12, r)
    t = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
    steps = path_steps(lambda z: scale * z, first, second, t, epsilon)
    assert steps == pytest.approx(np.full(6, (2 * scale * r * np.sin(np.pi / 4 * epsilon) / epsilon) ** 2), rel=1e-8)


def test_a_constant_generator_has_no_length_and_parallel_latents_a_straight_path():
    z = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.full((9, 1), 0.5, dtype=torch.float64)
    assert not path_steps(lambda z: torch.ones(len(z), 3), z, -z.flip(0), t).any()
    assert not path_steps(lambda z: z, z, z, t).max() > 1e-20
    assert path_steps(lambda z: z, z, 3 * z, t) == pytest.approx(4 * z.square().sum(1).numpy(), rel=1e-9)


def test_paths_are_those_of_torch_fidelity():
    rng = torch.Generator().manual_seed(1)
    first, second = (torch.randn(50, 7, dtype=torch.float64, generator=rng) for _ in range(2))
    t = torch.rand(50, 1, dtype=torch.float64, generator=rng)
    assert torch.allclose(spherical_interpolation(first, second, t), batch_slerp_any(first, second, t), rtol=1e-9)
    assert torch.allclose(spherical_interpolation(first, second, torch.zeros(50, 1)), first)
    assert torch.allclose(spherical_interpolation(first, second, torch.ones(50, 1)), second)


def test_the_metric_of_a_linear_generator(make_evidence):
    d, scale = 200, 2.0
    # Latents of many dimensions are orthogonal and of length sqrt(d): a step moves each of two features by
    # about pi/2 e times a standard normal number.
    value = Smoothness()(at(make_evidence, Planted(scale, d)))
    assert value == pytest.approx(2 * scale**2 * (np.pi / 2) ** 2, rel=0.12)
    assert Smoothness()(at(make_evidence, Planted(2 * scale, d))) == pytest.approx(4 * value, rel=1e-4)
    assert Smoothness()(at(make_evidence, Planted(0.0, d))) == 0.0


def test_images_are_neither_rounded_nor_left_unclamped(make_evidence):
    class Images(Planted):
        def generate(self, z):
            grey = 1e-3 * super().generate(z)
            return torch.cat([grey, torch.full_like(grey, 7.0)], 1)[:, None, :, None]

    steps = Smoothness().values(at(make_evidence, Images(1.0)))
    points = Smoothness().values(at(make_evidence, Planted(1.0)))
    # Float32 numbers near 127.5 are 8e-6 apart and steps about 1e-3: rounded to 8 bits they would be 0.
    assert steps == pytest.approx(points * (1e-3 * 127.5) ** 2, rel=0.1, abs=1e-3)


def test_the_class_behind_a_latent_stays(make_evidence):
    class Conditional(Planted):
        def latent(self, n, rng=None):
            y = torch.randint(3, (n,), generator=rng)
            return torch.cat([super().latent(n, rng), nn.functional.one_hot(y, 3)], 1)

        def generate(self, z):
            assert set(z[:, self.latent_dim :].sum(1).tolist()) == {1.0}
            return super().generate(z) + 100.0 * z[:, self.latent_dim :].argmax(1, keepdim=True)

    value = Smoothness()(at(make_evidence, Conditional(1.0)))
    assert value == pytest.approx(Smoothness()(at(make_evidence, Planted(1.0))), rel=0.2)


def test_seeded_and_global_generators_left_alone(make_evidence):
    before = torch.get_rng_state()
    evidence = at(make_evidence, Planted(1.0))
    first = Smoothness()(evidence)
    assert Smoothness()(at(make_evidence, Planted(1.0))) == first
    evidence.seed += 1
    evidence._known.clear()
    assert Smoothness()(evidence) != first
    assert torch.equal(torch.get_rng_state(), before)


def test_not_without_a_latent_space_or_an_extractor(make_evidence):
    class Sampler(Planted):
        generate = None

    x = np.zeros((5, 2))
    for evidence in (
        at(make_evidence, Sampler(1.0)),
        make_evidence(x, x, x),
        make_evidence(x, x, x, variant=Planted(1.0)),
    ):
        assert apply([Smoothness()], evidence).values == {"smoothness": None}


def test_errors():
    z = torch.ones(2, 2)
    with pytest.raises(MetricError, match="epsilon"):
        path_steps(lambda z: z, z, z, z[:, :1], 0.0)
    with pytest.raises(MetricError, match="not finite"):
        path_steps(lambda z: z * np.nan, z, z, z[:, :1])
    assert EPSILON == 1e-2
