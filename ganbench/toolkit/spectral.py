"""Spectral normalisation: every weight matrix divided by its largest singular value."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

Network = TypeVar("Network", bound=nn.Module)


class SpectralNorm(nn.Module):
    """A weight divided by its largest singular value, ``W / sigma(W)``, for ``torch.nn.utils.parametrize``.

    Miyato et al. 2018, Algorithm 1: one step of the power method at each training pass.

    Unlike torch's own it writes to no tensor that a graph or a batched computation holds on to.
    """

    u: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("u", functional.normalize(torch.randn(len(weight)), dim=0))
        for _ in range(15):  # the first passes already see the largest singular value, not a random one
            self(weight.detach())

    def forward(self, weight: Tensor) -> Tensor:
        w = weight.flatten(1)
        with torch.no_grad():
            v = functional.normalize(w.T @ self.u, dim=0)
            u = functional.normalize(w @ v, dim=0)
            if self.training:
                self.u.copy_(u)
        return weight / (u @ (w @ v))


def spectrally_normalised(network: Network) -> Network:
    """Give every convolution and linear layer of a network spectral normalisation; returns the network."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return network
