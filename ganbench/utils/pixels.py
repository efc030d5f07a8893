"""Pixels: from 8 bits to the range [-1, 1] that networks see, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def to_255(images: Tensor) -> Tensor:
    """Images in [-1, 1] as floating point in [0, 255]: clamped, ``(x + 1) * 127.5``."""
    return (images.clamp(-1, 1) + 1) * 127.5


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] as 8-bit ones: clamped, ``round((x + 1) * 127.5)``."""
    return to_255(images).round().to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """Images in [0, 255], 8-bit or with fractions, as float32 in [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1
