"""What the bits of a training depend on beside code and seed: versions, device, threads, processor, flags."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ganbench.utils.errors import UsageError
from ganbench.utils.seeding import float32_precision

# What /proc/cpuinfo calls them, on x86 and on ARM; the stepping changes no kernel.
_PROCESSOR = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
_PACKAGES = ("ganbench", "torch", "numpy", "scipy", "scikit-learn", "safetensors")


class DeviceError(UsageError):
    """A device that this machine does not have."""


def select_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU; raises DeviceError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(f"--device {name}: torch sees no CUDA device here; use --device cpu, which always works")
    if name == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: torch sees no Apple GPU here; use --device cpu, which always works")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"--device {name}: expected auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0 on")
    return device


def use_device(name: str) -> torch.device:
    """The device of a job, made the current one: a plugin's bare "cuda" and saved random states are this GPU's.

    A bare ``cuda``, as a record says it, is the current GPU. Raises DeviceError for one that is not there.
    """
    chosen = select_device(name)
    if chosen.type != "cuda":
        return chosen
    numbered = torch.device("cuda", torch.cuda.current_device() if chosen.index is None else chosen.index)
    torch.cuda.set_device(numbered)
    return numbered


def devices(name: str) -> list[str]:
    """List the devices that trials are spread over: every GPU for ``auto`` or ``cuda``, else the one that was named."""
    device = select_device(name)
    if device.type == "cuda" and device.index is None:
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [str(device)]


def describe(device: torch.device, threads: int, distribution: str) -> dict[str, Any]:
    """The environment of a trial, equal in every process of one machine and installation."""
    on_cuda = device.type == "cuda"
    precision = float32_precision()
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": processor(),
        "packages": {name: _version(name) for name in _PACKAGES} | {distribution: _version(distribution)},
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if on_cuda else device.type,
        "cuda": torch.version.cuda if on_cuda else None,
        "cudnn": torch.backends.cudnn.version() if on_cuda else None,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "convolution_precision": precision["cudnn.conv"],
        "matmul_precision": precision["matmul"] or precision["cuda.matmul"],
        "default_dtype": str(torch.get_default_dtype()),
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Which processor it is: maker, family and model, as far as the system says.

    Libraries choose their kernels by it: two processors of one instruction set can round a product differently.
    """
    try:
        first = cpuinfo.read_text(errors="replace").partition("\n\n")[0]
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in first.splitlines())
    said = {name.strip(): value.strip() for name, _, value in lines}
    return ", ".join(f"{name} {said[name]}" for name in _PROCESSOR if name in said) or platform.machine()


def with_distribution(described: dict[str, Any], distribution: str) -> dict[str, Any]:
    """The environment with the version of one more package: the plugin's own."""
    return {**described, "packages": described["packages"] | {distribution: _version(distribution)}}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
