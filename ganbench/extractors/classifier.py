"""Features and class probabilities from small convolutional classifiers.

The weights of those below ship with the package; ``benchmarks/train_classifiers.py`` trained them. Scores
with these features are comparable among themselves and with nothing else: they are shown as ``FID
(digits-cnn)``, never as plain FID.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.plugin.hookspecs import hookimpl
from ganbench.plugin.interfaces import REQUIRED, Extractor, plugin_dataclass
from ganbench.utils.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = Path(__file__).parent / "weights"
BATCH = 64  # images at a time, however many a caller hands over; larger ones fall out of a core's cache
SMALLEST = 7  # feature maps are halved while their side is longer than this


def network(weights: Mapping[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """The classifier as a function of images in [0, 255]: features ``(n, size)`` in [-1, 1], logits ``(n, classes)``.

    Two 3x3 convolutions with ReLU and max pooling, a linear layer with tanh (the features), a linear layer.
    Bounded features cannot be blown up by images unlike any real one; unlike ReLU's none is dead, so that
    covariances are regular; and they keep more of what varies within a class than linear ones do.
    """
    from torch.nn import functional as F

    from ganbench.utils.pixels import from_uint8

    hidden = from_uint8(images)
    for layer in ("conv1", "conv2"):
        hidden = F.relu(F.conv2d(hidden, weights[f"{layer}.weight"], weights[f"{layer}.bias"], padding=1))
        if min(hidden.shape[2:]) > SMALLEST:
            hidden = F.max_pool2d(hidden, 2)
    features = F.linear(hidden.flatten(1), weights["features.weight"], weights["features.bias"]).tanh()
    return features, F.linear(features, weights["classes.weight"], weights["classes.bias"])


@contextlib.contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Compute in real float32 within the block, whatever a plugin has switched on: no autocast, TF32 or bfloat16."""
    import torch

    backends: Any = torch.backends
    switches = [backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul]
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        with torch.autocast(device, enabled=False):
            yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


@plugin_dataclass
class Classifier(Extractor):
    """Features and class probabilities of a small convolutional classifier.

    Attributes:
        shape: of the images it takes, ``(channels, height, width)``.
        classes: how many it tells apart.
        sha256: of the file of its weights, where it ships with the package.
    """

    shape: tuple[int, int, int] = REQUIRED
    classes: int = REQUIRED
    sha256: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._weights: dict[Any, dict[str, Tensor]] = {}

    @property
    def path(self) -> Path:
        """The file of its weights."""
        return WEIGHTS / f"{self.name}.safetensors"

    @cached_property  # type: ignore[misc]
    def weights_hash(self) -> str:  # type: ignore[override]
        return hashlib.sha256(self.content()).hexdigest()

    def content(self) -> bytes:
        """The file of its weights; raises UsageError where it is not the one that ships."""
        data = self.path.read_bytes()
        if self.sha256 and hashlib.sha256(data).hexdigest() != self.sha256:
            raise UsageError(f"{self.path} is damaged: it is not the file that ganbench ships; install ganbench again")
        return data

    def weights(self, device: Any) -> dict[str, Tensor]:
        """The weights on ``device``, copied there once."""
        from safetensors.torch import load

        if device not in self._weights:
            self._weights[device] = {key: value.to(device) for key, value in load(self.content()).items()}
        return self._weights[device]

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(n, size)`` in [-1, 1] and probabilities ``(n, classes)``, float32, on the batch's device.

        Args:
            batch: images ``(n, channels, height, width)``, uint8 or floating point, in [0, 255].

        Raises:
            ValueError: the images are of another shape or type.
        """
        import torch

        if tuple(batch.shape[1:]) != self.shape or not (batch.dtype == torch.uint8 or batch.is_floating_point()):
            expected = ", ".join(map(str, self.shape))
            raise ValueError(
                f"extractor {self.name} expects images of shape (n, {expected}), uint8 or floating point in [0, 255], "
                f"got {batch.dtype} of shape {tuple(batch.shape)}"
            )
        weights = self.weights(batch.device)
        with torch.no_grad(), full_precision(batch.device.type):
            outputs = [network(weights, chunk) for chunk in batch.split(BATCH)]
        return torch.cat([f for f, _ in outputs]), torch.cat([logits for _, logits in outputs]).softmax(dim=1)


SHIPPED = [
    Classifier(
        name="digits-cnn",
        size=32,
        shape=(1, 8, 8),
        classes=10,
        sha256="8676cc573035900a17b1b90a32307975e5ba129bd4ecb0f793919041f2f287fd",
    ),
    Classifier(
        name="fashion-mnist-cnn",
        size=64,
        shape=(1, 28, 28),
        classes=10,
        sha256="3f4445d9d173818c399e6559beec32620175bf6fb0d6898eb90b63904f2f4557",
    ),
    Classifier(
        name="mnist-cnn",
        size=64,
        shape=(1, 28, 28),
        classes=10,
        sha256="79efb4872d2e290361f456bc5fd5e4ae3f96d5cfcc3efe32365b8166387729b3",
    ),
]


@hookimpl
def ganbench_extractors() -> list[Classifier]:
    return SHIPPED
