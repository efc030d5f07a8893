"""Networks and initialisations that several papers share.

Images are ``(channels, height, width)`` from 8x8 to 64x64; points are ``(2,)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganbench.plugin.variant import Unsuitable


class Reshape(nn.Module):
    """Reshape each row: ``(n, ...)`` to ``(n, *shape)``."""

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
    """A multilayer perceptron ``(n, inputs) -> (n, outputs)`` with leaky ReLU between its layers."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.LeakyReLU(slope)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def convolutional_generator(shape: Sequence[int], latent_dim: int, width: int) -> nn.Sequential:
    """The DCGAN generator: ``(n, latent_dim)`` to images ``(n, *shape)`` in [-1, 1] (Radford et al. 2015, section 3).

    Fractionally strided convolutions with batch normalisation and ReLU, tanh at the output; ``width``
    channels next to the image, twice as many at each halving, weights of convolutions from N(0, 0.02^2); the linear
    layer keeps PyTorch's.
    """
    n, (channels, height, width_of_image) = halvings(shape), shape
    wide = width * 2 ** (n - 1)
    base = (wide, height // 2**n, width_of_image // 2**n)
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, size_of(base), bias=False),
        Reshape(base),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
    ]
    for _ in range(n - 1):
        layers += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(wide // 2), nn.ReLU()]
        wide //= 2
    g = nn.Sequential(*layers, nn.ConvTranspose2d(wide, channels, 4, 2, 1), nn.Tanh())
    normal_init(g)
    return g.to(memory_format=torch.channels_last)  # faster convolutions, the same network


def convolutional_discriminator(
    shape: Sequence[int], width: int, outputs: int = 1, batch_norm: bool = False
) -> nn.Sequential:
    """The DCGAN discriminator: images ``(n, *shape)`` to ``(n, outputs)`` (Radford et al. 2015, section 3).

    Strided convolutions with leaky ReLU; batch normalisation (not at the input) only if asked for, since
    penalties on the gradient at one sample have no meaning where samples of a batch depend on each other.
    """
    (channels, height, width_of_image), wide = shape, width
    layers: list[nn.Module] = [nn.Conv2d(channels, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
    # One strided convolution alone sees too little of an 8x8 image: at least two.
    n = max(2, halvings(shape))
    for _ in range(n - 1):
        layers.append(nn.Conv2d(wide, wide * 2, 4, 2, 1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(wide * 2)] if batch_norm else []
        layers.append(nn.LeakyReLU(0.2))
        wide *= 2
    d = nn.Sequential(*layers, nn.Flatten(), nn.Linear(wide * (height // 2**n) * (width_of_image // 2**n), outputs))
    normal_init(d)
    return d.to(memory_format=torch.channels_last)


def normal_init(network: nn.Module, std: float = 0.02) -> None:
    """Initialise as DCGAN: convolutions from N(0, std^2), batch normalisation from N(1, std^2), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)


def usual_width(shape: Sequence[int], width: int | None) -> int:
    """The width that is asked for; without one 32, and 16 for images of more than 16 pixels a side.

    A step at 28x28 is half as long at width 16, and twice as many of them end in a lower FID (docs/variants.md).
    """
    if width is not None:
        return width
    return 16 if is_image(shape) and max(shape[1:]) > 16 else 32


def size_of(shape: Sequence[int]) -> int:
    """How many numbers one sample of a shape has."""
    return int(torch.Size(shape).numel())
