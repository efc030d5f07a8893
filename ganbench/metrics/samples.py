"""Samples on their way from variants to extractors and scores: their value ranges, their features, equal numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganbench.plugin.interfaces import Evidence, NotApplicable
from ganbench.utils import pixels

EXTRACTOR_BATCH = 500
"""Samples that are generated, and sent through the extractor, at a time; the last bits of features depend on it."""


def unquantised(samples: Tensor) -> Tensor:
    """A variant's samples as the extractor takes them in floating point: images clamped, in [0, 255]; points as is."""
    samples = samples.detach().to(torch.float32)
    return pixels.to_255(samples) if samples.dim() == 4 else samples


def quantised(samples: Tensor) -> Tensor:
    """A variant's samples as scores take them: images in 8 bits; points as is."""
    samples = samples.detach().to(torch.float32)
    return pixels.to_uint8(samples) if samples.dim() == 4 else samples


def normalised(samples: np.ndarray) -> Tensor:
    """Samples of a Side as variants see them: images in [-1, 1], points as is; float32."""
    rows = torch.from_numpy(samples)
    return pixels.from_uint8(rows) if rows.dim() == 4 else rows.to(torch.float32)


def extract(evidence: Evidence, samples: Tensor) -> np.ndarray:
    """Features ``(n, d)`` of images ``(n, channels, height, width)`` in [0, 255] or of points ``(n, d)``."""
    if evidence.extractor is None:
        raise NotApplicable("no extractor is at hand for new samples")
    parts = [evidence.extractor(chunk)[0] for chunk in samples.split(EXTRACTOR_BATCH)]
    return torch.cat([torch.as_tensor(part).float().cpu() for part in parts]).numpy()


def equal_numbers(one: np.ndarray, two: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Both with as many rows as the smaller has; of the larger a draw without replacement."""
    n = min(len(one), len(two))
    small = [rows if len(rows) == n else rows[rng.choice(len(rows), n, replace=False)] for rows in (one, two)]
    return small[0], small[1]
