"""Spectral normalisation: every weight matrix divided by its largest singular value."""

from __future__ import annotations

from typing import Any, TypeVar

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
            _parametrise(layer, SpectralNorm(layer.weight))
    return network


def _parametrise(layer: nn.Module, norm: SpectralNorm) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", norm)
    # torch gives the layer a class of its own, which it refuses to pickle: see _reduce.
    type(layer).__reduce_ex__ = _reduce  # type: ignore[method-assign,assignment]
    return layer


def _reduce(layer: nn.Module, protocol: Any) -> tuple[Any, ...]:
    """How pickle saves a layer with spectral normalisation: as the plain layer, and what divides its weights."""
    plain: Any = object.__new__(type(layer).__bases__[0])
    plain.__dict__.update(layer.__dict__)
    weights = layer._modules["parametrizations"].weight  # type: ignore[union-attr]
    plain._modules = {name: child for name, child in layer._modules.items() if name != "parametrizations"}
    plain._parameters = {"weight": weights.original, **layer._parameters}  # type: ignore[union-attr]
    return _restore, (plain, weights[0])  # type: ignore[index]


def _restore(layer: nn.Module, norm: SpectralNorm) -> nn.Module:
    training = layer.training
    layer.eval()  # registering computes the weight once, which in training would move u
    return _parametrise(layer, norm).train(training)
