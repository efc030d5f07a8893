"""An extractor without weights: the mean colours of an 8x8 grid, for images without labels."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Extractor

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 8


class Pixels(Extractor):
    """Mean colours of an 8x8 grid: needs neither labels nor weights, and sees no more than layout and colour."""

    name = "pixels"
    size = 3 * SIDE * SIDE
    weights_hash = hashlib.sha256(b"pixels: adaptive mean over 8x8, three channels, [-1, 1]").hexdigest()

    def __call__(self, batch: Tensor) -> tuple[Tensor, None]:
        """Images ``(n, 1 or 3, height, width)`` in [0, 255] to features ``(n, 192)`` in [-1, 1]; grey counts as colour.

        Raises:
            ValueError: the batch is not of images.
        """
        import torch
        from torch.nn import functional as F

        from ganbench.utils.pixels import from_uint8

        if batch.ndim != 4 or batch.shape[1] not in (1, 3):
            raise ValueError(f"extractor pixels expects images (n, 1 or 3, height, width), got {tuple(batch.shape)}")
        with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
            means = from_uint8(F.adaptive_avg_pool2d(batch.float(), SIDE))
        return means.expand(-1, 3, -1, -1).flatten(1), None


@hookimpl
def ganbench_extractors() -> list[Extractor]:
    return [Pixels()]
