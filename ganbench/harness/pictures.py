"""Pictures that a trained variant's networks make: nearest training images, interpolations, latent arithmetic."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganbench.harness.artifacts import GRID, image_grid
from ganbench.harness.evaluation import eval_mode
from ganbench.harness.real_data import RealData
from ganbench.metrics.samples import EXTRACTOR_BATCH
from ganbench.metrics.smoothness import spherical_interpolation
from ganbench.plugin.variant import Variant, device_of
from ganbench.utils.pixels import to_uint8
from ganbench.utils.seeding import derive, generator

SHOWN = 2 * GRID  # samples that stand above their nearest training image
PATHS = 4  # rows of an interpolation
LATENTS = 1000  # among which those of a class are looked for
SUREST = 3  # latents of a class whose mean stands for it; one alone is unstable (Radford et al. 2016)
ROWS = 4096  # training images compared at a time


def draw_pictures(
    variant: Variant, real: RealData, samples: Tensor, seed: int
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Pictures by name, as PNG grids of 8 columns, and what a caption needs to know of them.

    ``nearest``: rows of samples, and under each its nearest training image (Euclidean, over pixels).
    ``interpolation``: in each row the way between two latents, on the arc.
    ``arithmetic``: in each column three classes a, b and c, and a - b + c (Radford et al. 2016, section 6.3.2): means
    of the latents of a class, by the extractor's classifier. The captions name the columns' classes.
    ``codes``: what ``code_paths`` of the variant asks for.

    What does not apply is left out: points, a variant without latents, a dataset without classes. So is what the
    variant raises: the trial is finished, and its log has the traceback.

    Args:
        variant: trained; it is left as it was.
        real: its dataset.
        samples: uint8 ``(n, channels, height, width)`` of its last evaluation.
        seed: of the trial.
    """
    pictures: dict[str, bytes] = {}
    about: dict[str, Any] = {}
    if samples.dim() != 4:
        return pictures, about
    try:
        pictures["nearest"] = image_grid(_nearest(samples[:SHOWN], real.images["train"]).numpy())
        if variant.generate is None:
            return pictures, about
        stream = derive(seed, "pictures")
        with eval_mode(variant, stream):
            rng = generator(stream, device_of(variant))
            pictures["interpolation"] = image_grid(_interpolation(variant, rng))
            found = _arithmetic(variant, real, rng)
            if variant.code_paths is not None:
                pictures["codes"] = image_grid(_images(variant, variant.code_paths(GRID, rng)))
        if found is not None:
            about["arithmetic"] = found[0]
            pictures["arithmetic"] = image_grid(found[1])
    except Exception:
        traceback.print_exc()
    return pictures, about


def _nearest(samples: Tensor, train: Tensor) -> Tensor:
    """Rows of samples, and of the training images that are nearest to them, in turn."""
    queries = samples.cpu().flatten(1).double()
    best = torch.full((len(queries),), torch.inf, dtype=torch.float64)
    index = torch.zeros(len(queries), dtype=torch.int64)
    for start in range(0, len(train), ROWS):
        rows = train[start : start + ROWS].cpu().flatten(1).double()
        # Whole numbers: the products are exact, and so the same on every machine. |query|^2 is the same for all.
        value, place = (rows.square().sum(1) - 2 * queries @ rows.T).min(dim=1)
        closer = value < best
        best, index = torch.where(closer, value, best), torch.where(closer, place + start, index)
    pairs = zip(samples.cpu().split(GRID), train.cpu()[index].split(GRID), strict=True)
    return torch.cat([part for pair in pairs for part in pair])


def _interpolation(variant: Variant, rng: torch.Generator) -> np.ndarray:
    """What a latent carries behind its ``latent_dim`` numbers (a class) stays the first's along the path."""
    first, second = variant.latent(PATHS, rng), variant.latent(PATHS, rng)
    size = variant.latent_dim or first.shape[1]
    steps = []
    ends = first[:, :size].cpu().double(), second[:, :size].cpu().double()
    for t in torch.linspace(0, 1, GRID, dtype=torch.float64):
        between = spherical_interpolation(*ends, t.expand(PATHS, 1)).to(first.device, first.dtype)
        steps.append(torch.cat([between, first[:, size:]], dim=1))
    path = torch.stack(steps, dim=1).flatten(0, 1)
    return _images(variant, path)


def _arithmetic(variant: Variant, real: RealData, rng: torch.Generator) -> tuple[list[list[int]], np.ndarray] | None:
    """Classes of each column, and the images row by row; None without a classifier of at least three of them."""
    latents = variant.latent(LATENTS, rng)
    images = torch.cat([torch.from_numpy(_images(variant, part)) for part in latents.split(EXTRACTOR_BATCH)])
    probabilities = real.describe(images.to(real.device)).probabilities
    if probabilities is None or not real.dataset.classes or probabilities.shape[1] != real.dataset.classes:
        return None
    named = probabilities.argmax(axis=1)
    present = [label for label in range(real.dataset.classes) if np.count_nonzero(named == label) >= SUREST]
    if len(present) < 3:
        return None
    columns = [[present[(column + i) % len(present)] for i in range(3)] for column in range(GRID)]
    means = {}
    for label in {label for column in columns for label in column}:
        own = np.flatnonzero(named == label)
        surest = own[np.argsort(-probabilities[own, label], kind="stable")[:SUREST]]
        means[label] = latents[torch.from_numpy(surest).to(latents.device)].mean(dim=0)
    a, b, c = (torch.stack([means[column[i]] for column in columns]) for i in range(3))
    return columns, _images(variant, torch.cat([a, b, c, a - b + c]))


def _images(variant: Variant, latents: Tensor) -> np.ndarray:
    return to_uint8(variant.generate(latents).float()).cpu().numpy()
