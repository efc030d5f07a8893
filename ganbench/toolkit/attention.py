"""Self-attention over the places of an image, so that distant parts can agree with each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Add to each place of a feature map a weighted mean of all places: ``(n, c, h, w)`` to the same shape.

    Zhang et al. 2019, "Self-Attention Generative Adversarial Networks", section 3, with the keys and values at half
    the resolution as in Brock et al. 2019: ``y = x + gamma W_v attention(W_f x, W_g x, W_h x)``. ``gamma`` starts at
    0: the layer changes nothing at first.

    Args:
        channels: ``c``, at least 8; queries and keys have an eighth of it, values half.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.output = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        queries = self.query(x).flatten(2)
        keys, values = (functional.max_pool2d(f(x), 2).flatten(2) for f in (self.key, self.value))
        weights = (queries.transpose(1, 2) @ keys).softmax(2)
        mixed = (values @ weights.transpose(1, 2)).unflatten(2, (height, width))
        return x + self.gamma * self.output(mixed)
