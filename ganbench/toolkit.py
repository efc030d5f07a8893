"""Blocks for plugin authors: networks and initialisations that several papers share.

Images are ``(channels, height, width)`` from 8x8 to 64x64; points are ``(2,)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganbench.variant import Unsuitable


class Reshape(nn.Module):
    """``(n, ...)`` to ``(n, *shape)``."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)


def is_image(shape: Sequence[int]) -> bool:
    """Whether samples are images rather than points."""
    return len(shape) == 3


def halvings(shape: Sequence[int]) -> int:
    """How often an image is halved until a side is odd or below 8: 8x8 once, 28x28 twice, 64x64 four times."""
    height, width = shape[1:]
    count = 0
    while min(height, width) >= 8 and height % 2 == width % 2 == 0:
        height, width, count = height // 2, width // 2, count + 1
    return count


def require_image(name: str, shape: Sequence[int]) -> None:
    """Raise Unsuitable unless samples are images of 8 to 64 pixels a side that can be halved."""
    if not is_image(shape):
        raise Unsuitable(f"{name} is convolutional: it needs images, not points")
    if not all(8 <= side <= 64 for side in shape[1:]) or not halvings(shape):
        raise Unsuitable(f"{name} needs even sides of 8 to 64 pixels, not {shape[1]}x{shape[2]}")


def multilayer_perceptron(inputs: int, hidden: Sequence[int], outputs: int, slope: float = 0.2) -> nn.Sequential:
    """Fully connected layers ``(n, inputs) -> (n, outputs)`` with leaky ReLU between them."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.LeakyReLU(slope)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def normal_init(network: nn.Module, std: float = 0.02) -> None:
    """Weights of (transposed) convolutions from N(0, std^2), batch normalisation from N(1, std^2), biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)


def size_of(shape: Sequence[int]) -> int:
    """Numbers in one sample."""
    return int(torch.Size(shape).numel())
