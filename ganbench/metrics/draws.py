"""What metrics that ask the variant or the extractor themselves share: ranges of images, and rows by the batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganbench.plugin.interfaces import Evidence, NotApplicable

CHUNK = 500
"""Samples generated, and sent through the extractor, at a time."""


def unrounded(samples: Tensor) -> Tensor:
    """A variant's samples as the extractor takes them in floating point: images clamped, in [0, 255]; points as is."""
    samples = samples.detach().to(torch.float32)
    return (samples.clamp(-1.0, 1.0) + 1.0) * 127.5 if samples.dim() == 4 else samples


def rounded(samples: Tensor) -> Tensor:
    """A variant's samples as scores take them: images in 8 bits; points as is."""
    return unrounded(samples).round().to(torch.uint8) if samples.dim() == 4 else unrounded(samples)


def normalised(samples: np.ndarray) -> Tensor:
    """Samples of a Side as variants see them: images in [-1, 1], points as is; float32."""
    rows = torch.from_numpy(samples)
    return rows.to(torch.float32) / 127.5 - 1.0 if rows.dim() == 4 else rows.to(torch.float32)


def extract(evidence: Evidence, samples: Tensor) -> np.ndarray:
    """Features ``(n, d)`` of images ``(n, channels, height, width)`` in [0, 255] or of points ``(n, 2)``."""
    if evidence.extractor is None:
        raise NotApplicable("no extractor is at hand for new samples")
    parts = [evidence.extractor(chunk)[0] for chunk in samples.split(CHUNK)]
    return torch.cat([torch.as_tensor(part).float().cpu() for part in parts]).numpy()


def equal_numbers(one: np.ndarray, two: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Both with as many rows as the smaller has; of the larger a draw without replacement."""
    n = min(len(one), len(two))
    small = [rows if len(rows) == n else rows[rng.choice(len(rows), n, replace=False)] for rows in (one, two)]
    return small[0], small[1]
