"""Pictures of a trained variant: what stands in each cell, where the answer is known."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ganbench.harness.checkpoint import capture
from ganbench.harness.environment import processor
from ganbench.harness.pictures import LATENTS, draw_pictures
from ganbench.harness.serialization import fingerprint
from ganbench.metrics.smoothness import spherical_interpolation
from ganbench.plugin.variant import Variant
from ganbench.utils.pixels import to_uint8
from ganbench.utils.seeding import derive, generator

CLASSES = 4
TRAIN = torch.randint(0, 256, (9000, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


class Squashed(Variant):
    """Sixteen latents are sixteen pixels."""

    name = "squashed"
    latent_dim = 16

    def __init__(self) -> None:
        super().__init__(torch.Size((1, 4, 4)))
        self.register_buffer("weight", torch.ones(16))

    def generate(self, z: Tensor) -> Tensor:
        return (z[:, :16] * self.weight / 3).tanh().reshape(-1, 1, 4, 4)


def real(classes: int | None = CLASSES) -> Any:
    """A dataset whose classifier names the brightest of the first four pixels."""

    def describe(images: Tensor) -> Any:
        logits = images.flatten(1)[:, :CLASSES].double()
        return SimpleNamespace(probabilities=(logits / 10).softmax(dim=1).numpy())

    dataset = SimpleNamespace(classes=classes)
    return SimpleNamespace(images={"train": TRAIN}, device="cpu", dataset=dataset, describe=describe)


def cells(png: bytes, zoom: int = 8) -> np.ndarray:
    """``(rows, 8, 4, 4)`` of a grid."""
    grid = np.asarray(Image.open(io.BytesIO(png)))[::zoom, ::zoom]
    assert (grid[::5] == 96).all() and (grid[:, ::5] == 96).all()
    rows = [grid[y + 1 : y + 5] for y in range(0, grid.shape[0] - 1, 5)]
    return np.stack([[row[:, x + 1 : x + 5] for x in range(0, grid.shape[1] - 1, 5)] for row in rows])


def test_under_each_sample_stands_its_nearest_training_image() -> None:
    chosen = torch.tensor([8999, 5, 4096, 4095, 0, 17, 23, 42, 8, 9, 10, 11, 12, 13, 14, 8998])
    samples = TRAIN[chosen].clone()
    samples[:, 0, 0, 0] ^= 1  # one grey level away from it, and far from all others
    pictures, _ = draw_pictures(Squashed(), real(), samples, seed=3)
    found = cells(pictures["nearest"])
    for first in (0, 1):
        part = slice(8 * first, 8 * first + 8)
        assert (found[2 * first] == samples[part, 0].numpy()).all()
        assert (found[2 * first + 1] == TRAIN[chosen[part], 0].numpy()).all()


def test_paths_and_sums_of_latents() -> None:
    variant = Squashed()
    before = fingerprint(capture(variant))
    pictures, about = draw_pictures(variant, real(), TRAIN[:16], seed=3)
    assert fingerprint(capture(variant)) == before and variant.training
    again, _ = draw_pictures(variant, real(), TRAIN[:16], seed=3)
    assert again == pictures
    rng = generator(derive(3, "pictures"))
    first, second, latents = (torch.randn(n, 16, generator=rng) for n in (4, 4, LATENTS))

    def drawn(z: Tensor) -> np.ndarray:
        return to_uint8(variant.generate(z))[:, 0].numpy()

    path = cells(pictures["interpolation"])
    assert (path[:, 0] == drawn(first)).all() and (path[:, 7] == drawn(second)).all()
    middle = spherical_interpolation(first.double(), second.double(), torch.full((4, 1), 3 / 7, dtype=torch.float64))
    assert (path[:, 3] == drawn(middle.float())).all()

    assert about["arithmetic"] == [[j % 4, (j + 1) % 4, (j + 2) % 4] for j in range(8)]
    probabilities = real().describe(to_uint8(variant.generate(latents))).probabilities
    means = []
    for label in range(CLASSES):
        own = [i for i in range(LATENTS) if probabilities[i].argmax() == label]
        surest = sorted(own, key=lambda i: -probabilities[i, label])[:3]
        means.append(latents[surest].mean(dim=0))
    sums = cells(pictures["arithmetic"])
    for column, (a, b, c) in enumerate(about["arithmetic"]):
        expected = drawn(torch.stack([means[a], means[b], means[c], means[a] - means[b] + means[c]]))
        assert (sums[:, column] == expected).all()


@pytest.mark.parametrize("classes", [None, 10])
def test_without_a_classifier_of_the_classes_there_are_no_sums(classes: int | None) -> None:
    pictures, about = draw_pictures(Squashed(), real(classes), TRAIN[:16], seed=3)
    assert set(pictures) == {"nearest", "interpolation"} and not about


def test_a_code_has_the_paths_that_the_variant_asks_for() -> None:
    class Coded(Squashed):
        def code_paths(self, n: int, rng: torch.Generator | None = None) -> Tensor:
            assert isinstance(rng, torch.Generator)
            along = torch.linspace(-1, 1, n)[:, None]
            return torch.cat([along * torch.ones(16), -along * torch.ones(16)])

    plain, pictures = (draw_pictures(cls(), real(), TRAIN[:16], seed=3)[0] for cls in (Squashed, Coded))
    assert set(pictures) - set(plain) == {"codes"} and all(pictures[name] == plain[name] for name in plain)
    rows = cells(pictures["codes"])
    shown = to_uint8((torch.linspace(-1, 1, 8) / 3).tanh()).numpy()
    assert rows.shape == (2, 8, 4, 4)
    assert (rows[0] == shown[:, None, None]).all() and (rows[1] == shown[::-1, None, None]).all()


def test_what_a_variant_raises_costs_only_its_own_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    class Picky(Squashed):
        def generate(self, z: Tensor) -> Tensor:
            raise RuntimeError("only my own latents")

    pictures, _ = draw_pictures(Picky(), real(), TRAIN[:16], seed=3)
    assert set(pictures) == {"nearest"} and "only my own latents" in capsys.readouterr().err


def test_points_and_variants_without_latents() -> None:
    class Table(Squashed):
        generate: Any = None

    assert draw_pictures(Squashed(), real(), torch.zeros(100, 2), seed=3) == ({}, {})
    assert set(draw_pictures(Table(), real(), TRAIN[:16], seed=3)[0]) == {"nearest"}


def test_two_processors_of_one_instruction_set_have_different_names(tmp_path: Any) -> None:
    text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: {}\nmodel name\t: AMD EPYC\n\n"
    names = []
    for model in (17, 1):
        (tmp_path / "cpuinfo").write_text(text.format(model) * 2)
        names.append(processor(tmp_path / "cpuinfo"))
    assert names[0] == "vendor_id AuthenticAMD, cpu family 25, model 17, model name AMD EPYC" != names[1]
    assert processor(tmp_path / "none")
