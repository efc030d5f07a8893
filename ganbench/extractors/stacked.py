"""Extractors for stacked digits: one digit's classifier, applied to each colour channel."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ganbench.extractors.classifier import SHIPPED, Classifier
from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import REQUIRED, Extractor, plugin_dataclass

if TYPE_CHECKING:
    from torch import Tensor


@plugin_dataclass
class Stacked(Extractor):
    """The classifier of one digit applied to each of three channels.

    Its features are those of the channels one after the other, its probabilities of the 1,000 classes the
    products of theirs.

    Attributes:
        digit: the classifier of one channel.
    """

    digit: Classifier = REQUIRED

    @property  # type: ignore[misc]
    def size(self) -> int:  # type: ignore[override]
        return 3 * self.digit.size

    @property  # type: ignore[misc]
    def weights_hash(self) -> str:  # type: ignore[override]
        return hashlib.sha256(f"three channels: {self.digit.weights_hash}".encode()).hexdigest()

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(n, 3 size)`` and probabilities ``(n, 1000)`` of images ``(n, 3, height, width)``.

        Raises:
            ValueError: the images are of another shape or type.
        """
        if batch.ndim != 4 or batch.shape[1] != 3:
            raise ValueError(f"extractor {self.name} expects images of three channels, got {tuple(batch.shape)}")
        features, probabilities = self.digit(batch.flatten(0, 1)[:, None])
        red, green, blue = probabilities.unflatten(0, (len(batch), 3)).unbind(dim=1)
        joint = red[:, :, None, None] * green[:, None, :, None] * blue[:, None, None, :]
        return features.unflatten(0, (len(batch), 3)).flatten(1), joint.flatten(1)


@hookimpl
def ganbench_extractors() -> list[Stacked]:
    return [
        Stacked(name=f"stacked-{one.name}", digit=one) for one in SHIPPED if one.name in ("digits-cnn", "mnist-cnn")
    ]
