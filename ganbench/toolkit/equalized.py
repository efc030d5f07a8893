"""Blocks of progressive and style-based GANs: equalised learning rate, pixel norm, minibatch standard deviation.

Karras, Aila, Laine and Lehtinen 2018, "Progressive Growing of GANs for Improved Quality, Stability, and
Variation", sections 3 and 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganbench.toolkit.networks import halvings


class EqualizedLinear(nn.Module):
    """Fully connected layer ``(n, inputs) -> (n, outputs)`` with equalised learning rate (section 4.1).

    Weights start from N(0, 1) and are multiplied at run time by He's constant ``gain / sqrt(inputs)``: a
    step of Adam moves every layer by the same fraction of its range. Such steps are small, so the learning
    rate is about ten times that of a usual layer.

    Args:
        inputs: size of a row.
        outputs: size of a result.
        gain: sqrt(2) before a (leaky) ReLU, 1 elsewhere.
        rate: learning rate relative to the optimizer's, above 0. Weights start from N(0, 1 / rate^2) and
            are multiplied by ``rate`` too, the bias likewise: the same layer at first, and slower.
        bias: what the bias is at first.
    """

    def __init__(
        self, inputs: int, outputs: int, gain: float = math.sqrt(2), rate: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale = gain / math.sqrt(inputs) * rate
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualizedConv2d(nn.Module):
    """Convolution ``(n, inputs, h, w) -> (n, outputs, h, w)`` with equalised learning rate (section 4.1).

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: side of the kernel, odd; 3 if the layer resamples.
        gain: sqrt(2) before a (leaky) ReLU, 1 elsewhere.
        resample: ``"up"`` doubles the sides (nearest neighbours) before the convolution, ``"down"`` halves
            them (averages) after it.

    Raises:
        ValueError: a resampling layer with another kernel.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        gain: float = math.sqrt(2),
        resample: Literal["up", "down"] | None = None,
    ) -> None:
        super().__init__()
        if resample and kernel != 3:
            raise ValueError(f"a resampling layer has a kernel of 3, not {kernel}")
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(inputs * kernel**2)
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.bias)

    def convolve(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Apply the layer with another bias ``(outputs,)``, or none."""
        weight = self.weight * self.scale
        # Convolving and resampling in one strided convolution is the same map for less than half the work.
        if self.resample == "up":
            return functional.conv_transpose2d(x, _widen(weight).flip(2, 3).transpose(0, 1), bias, stride=2, padding=1)
        if self.resample == "down":
            return functional.conv2d(x, _widen(weight) / 4, bias, stride=2, padding=1)
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _widen(weight: Tensor) -> Tensor:
    """3x3 kernels convolved with a 2x2 square of ones: ``(o, i, 3, 3) -> (o, i, 4, 4)``."""
    w = functional.pad(weight, (1, 1, 1, 1))
    return w[..., 1:, 1:] + w[..., 1:, :-1] + w[..., :-1, 1:] + w[..., :-1, :-1]


class PixelNorm(nn.Module):
    """Scale each pixel's channels, or each row, to a mean square of 1 (section 4.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class MinibatchStdDev(nn.Module):
    """Append a constant channel that says how much the batch varies: ``(n, c, h, w) -> (n, c + 1, h, w)`` (section 3).

    Its value is the standard deviation over the batch of each feature at each place, averaged over them.
    """

    def forward(self, x: Tensor) -> Tensor:
        variance = (x - x.mean(0)).square().mean(0)
        return torch.cat([x, (variance + 1e-8).sqrt().mean().expand(len(x), 1, *x.shape[2:])], 1)


def pyramid(shape: Sequence[int], width: int) -> list[tuple[int, int, int]]:
    """Feature shapes ``(channels, height, width)`` at each resolution, from the lowest to the image's.

    Channels are ``width`` next to the image and double as the sides halve, up to ``8 * width``.
    """
    n, (_, height, across) = halvings(shape), shape
    return [(width * min(8, 2**i), height // 2**i, across // 2**i) for i in range(n, -1, -1)]
