"""An exponential moving average of a network's weights: what is scored while the network itself is trained.

Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", appendix A.1.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def frozen_copy(network: Network) -> Network:
    """A copy of a network that is not trained. Keep it as an attribute of the variant, so that it is saved."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Update the averaged weights: ``average <- decay * average + (1 - decay) * network``; buffers are copied.

    Args:
        average: the ``frozen_copy`` of ``network``.
        network: what is trained.
        decay: in [0, 1]; 0 copies.
    """
    for mean, parameter in zip(average.parameters(), network.parameters(), strict=True):
        mean.mul_(decay).add_(parameter, alpha=1 - decay)
    for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)


def warm_decay(decay: float, step: int) -> float:
    """A decay that starts low, to forget the first weights soon: ``min(decay, (1 + step) / (10 + step))``."""
    return min(decay, (1 + step) / (10 + step))
