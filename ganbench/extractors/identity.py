"""The extractor of points in the plane: their coordinates are the features."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Extractor

if TYPE_CHECKING:
    from torch import Tensor


class Identity(Extractor):
    """The coordinates of points in the plane, as float32; no class probabilities."""

    name = "identity"
    size = 2
    weights_hash = hashlib.sha256(b"identity: points as float32").hexdigest()

    def __call__(self, batch: Tensor) -> tuple[Tensor, None]:
        """Points ``(n, 2)`` in, the same ``(n, 2)`` out as float32.

        Raises:
            ValueError: the batch is not of floating-point points in the plane.
        """
        if batch.ndim != 2 or batch.shape[1] != self.size or not batch.is_floating_point():
            raise ValueError(
                f"extractor identity expects points of shape (n, {self.size}) in floating point, "
                f"got {batch.dtype} of shape {tuple(batch.shape)}"
            )
        return batch.detach().float(), None


@hookimpl
def ganbench_extractors() -> list[Extractor]:
    return [Identity()]
