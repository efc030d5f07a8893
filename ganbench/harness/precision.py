"""The number formats that a training computes in: float32 throughout, or products and convolutions in bfloat16."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

# Weights, optimizers, losses and evaluations are float32 in both.
PRECISIONS = ("fp32", "bf16")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context in which ``train_step`` runs: bfloat16 products if that is the precision."""
    if precision == "fp32":
        return contextlib.nullcontext()
    # Without the cache: it would hand the generator's pass the weights that one without gradients has converted, and
    # the second phase those that D had before its update.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def cast_outputs_to_float32(networks: nn.Module) -> None:
    """Let each network of a variant return float32, so that no loss is computed with eight bits."""
    for network in networks.children():
        network.register_forward_hook(_as_float)


def multiplies_bfloat16_fast(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32: AMX tiles of a CPU, tensor cores from Ampere on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def _as_float(network: nn.Module, inputs: Any, output: Any) -> Any:
    return output.float() if isinstance(output, Tensor) and output.dtype is torch.bfloat16 else None
