"""The extractor of points and of rows of a table: their coordinates are the features."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import Extractor

if TYPE_CHECKING:
    from torch import Tensor


class Identity(Extractor):
    """The coordinates of points, or the numbers of a row, as float32; no class probabilities.

    ``size`` is that of points in the plane; rows of d numbers have d features.
    """

    name = "identity"
    size = 2
    weights_hash = hashlib.sha256(b"identity: points as float32").hexdigest()

    def __call__(self, batch: Tensor) -> tuple[Tensor, None]:
        """Points ``(n, d)`` in, the same ``(n, d)`` out as float32.

        Raises:
            ValueError: the batch is not of floating-point points.
        """
        if batch.ndim != 2 or not batch.is_floating_point():
            raise ValueError(
                "extractor identity expects points of shape (n, d) in floating point, "
                f"got {batch.dtype} of shape {tuple(batch.shape)}"
            )
        return batch.detach().float(), None


@hookimpl
def ganbench_extractors() -> list[Extractor]:
    return [Identity()]
