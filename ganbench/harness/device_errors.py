"""What a GPU's errors mean: memory ran out, the machine is at fault, nobody can tell, or the variant's code is.

Torch says most of them as RuntimeError (``AcceleratorError`` among them), so they are told apart by how their messages
begin: https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html, and the status types of cuBLAS, cuDNN,
cuFFT, cuRAND, cuSOLVER and cuSPARSE. Out-of-bounds access and a failed assertion on the device are the code's.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ganbench.harness import environment
from ganbench.utils.errors import one_line
from ganbench.utils.memory import GIGABYTE

# ROCm's torch says HIP for CUDA.
_CUDA = r"(?:(?:CUDA|HIP) (?:driver )?error: |cuda runtime error \(\d+\) : )"
_LIBRARY = r"(?i:CUDA|HIP|cuDNN(?: frontend)?|cuSOLVER|cuFFT|cuSPARSE|cuRAND) error: "
_MEMORY = re.compile(
    rf"(?:CUDA|HIP|XPU|MPS backend) out of memory\b|{_CUDA}out of memory\b"
    rf"|{_LIBRARY}(?:(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS)_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
    r"|CUDNN_STATUS_INTERNAL_ERROR_(?:HOST|DEVICE)_ALLOCATION_FAILED|CURAND_STATUS_ALLOCATION_FAILED)\b"
    # What the allocator raises where it would say how much memory is left.
    r"|NVML_SUCCESS == .*INTERNAL ASSERT FAILED at .*CUDACachingAllocator"
)
_HOST_MEMORY = re.compile(r"(?:\[enforce fail at .*\] .*)?DefaultCPUAllocator: (?:can't allocate|not enough) memory")
_BUSY = r"(?:all CUDA-capable devices are|CUDA-capable device\(s\) is/are) busy or unavailable"
_SICK = r"uncorrectable (?:ECC|NVLink) error|(?:the )?GPU is lost|(?:.* )?fallen off the bus"
_MACHINE = re.compile(
    rf"{_CUDA}(?:{_BUSY}|{_SICK}|no CUDA-capable device is detected|CUDA driver version is insufficient"
    r"|system has unsupported display driver|system not yet initialized|forward compatibility was attempted"
    r"|OS call failed or operation not supported|MPS client failed to connect|.* the MPS (?:server|control daemon))"
    r"|Found no NVIDIA driver|The NVIDIA driver on your system is too old|No CUDA GPUs are available"
    r"|Unexpected error from cudaGetDeviceCount|(?:GPU|Unable to determine the device handle).* (?:is lost|off the bus)"
)
# A kernel of the variant's, or a GPU about to be lost (it fell off the bus: "unknown error"): another GPU tells which.
_DOUBTFUL = re.compile(
    rf"{_CUDA}(?:unspecified launch failure|unknown error|CUDA unknown error|initialization error|the launch timed out)"
    rf"|{_LIBRARY}(?:(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE)_STATUS_(?:NOT_INITIALIZED|INTERNAL_ERROR|EXECUTION_FAILED)"
    r"|CUFFT_(?:INTERNAL_ERROR|EXEC_FAILED))"
)

ROOMY = 0.75  # of a device's memory: where less is free as a job begins, other processes hold much of it


class DeviceLost(RuntimeError):
    """A job cannot have its device, or lost it: the machine's fault, by which no trial is judged."""


class Crowded(RuntimeError):
    """Memory ran out on a device that others use too, which says nothing of the trial yet."""


class Doubtful(RuntimeError):
    """An error that a variant's code can cause as well as a faulty device."""


@dataclass(frozen=True)
class Given:
    """The device of this process's job.

    Attributes:
        shared: other jobs of the same command may use it too.
        alone: this is a second try, without such jobs.
        held: what other processes held of its memory as the job began, where that was much.
    """

    device: torch.device
    shared: bool
    alone: bool
    held: str | None


_given: Given | None = None


def take_device(payload: dict[str, Any]) -> torch.device:
    """Make a job's device the current one, and limit the job to its share of the memory.

    ``payload``: ``device``; for a GPU that jobs share ``shared`` and the ``fraction`` of the memory; ``alone``.

    Raises:
        DeviceError: there is no such device. DeviceLost: it is there and cannot be had. Crowded: no memory is left.
    """
    global _given
    _given = None
    held = None
    try:
        device = environment.use_device(payload["device"])
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            if payload.get("fraction"):
                torch.cuda.set_per_process_memory_fraction(payload["fraction"], device)
            free, total = torch.cuda.mem_get_info(device)
            if free < ROOMY * total:
                held = f"{(total - free) / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB"
    except RuntimeError as reason:
        if is_out_of_memory(reason):
            raise Crowded(
                f"{_first_line(reason)}: other processes have left no memory on {payload['device']}"
            ) from None
        raise _lost(payload["device"], reason) from None
    _given = Given(device, payload.get("shared", False), payload.get("alone", False), held)
    return device


def device_fault(reason: BaseException) -> DeviceLost | Crowded | Doubtful | None:
    """What to raise instead of an exception that tells nothing of the trial; None where it is the trial's own."""
    if isinstance(reason, DeviceLost | Crowded | Doubtful):
        return reason
    if _given is None or _given.device.type == "cpu":  # what a plugin does with a GPU by itself is its own affair
        return None
    if any(_says(one, _MACHINE) for one in _with_causes(reason)):
        return _lost(_given.device, reason)
    if is_out_of_device_memory(reason):
        if _given.held:
            return Crowded(f"{_first_line(reason)}: other processes held {_given.held} of {_given.device} as it began")
        if _given.shared and not _given.alone:
            return Crowded(f"{_first_line(reason)}: trials share {_given.device}")
    elif not _given.alone and any(_says(one, _DOUBTFUL) for one in _with_causes(reason)):
        return Doubtful(_first_line(reason))
    return None


def is_out_of_memory(reason: BaseException) -> bool:
    """Whether an exception, or one that it was raised from, says that memory ran out, on a GPU or a CPU."""
    return is_out_of_device_memory(reason) or any(
        isinstance(one, MemoryError) or _says(one, _HOST_MEMORY) for one in _with_causes(reason)
    )


def is_out_of_device_memory(reason: BaseException) -> bool:
    """Whether it is the memory of a device that ran out."""
    return any(isinstance(one, torch.OutOfMemoryError) or _says(one, _MEMORY) for one in _with_causes(reason))


def _lost(device: object, reason: BaseException) -> DeviceLost:
    """The error for a device that cannot be had: what was said, and what to do."""
    said = next((one for one in _with_causes(reason) if _says(one, _MACHINE)), reason)
    if re.search(_BUSY, str(said)):
        remedy = "another process has it in exclusive mode, or it is broken: nvidia-smi shows which"
    elif re.search(_SICK, str(said)):
        remedy = "dmesg and nvidia-smi -q say what befell it; it needs a reset, or the machine a restart"
    else:
        remedy = "nvidia-smi must list it, with a driver as new as torch needs; CUDA_VISIBLE_DEVICES must not hide it"
    return DeviceLost(f"{device} of {platform.node()} cannot be used: {_first_line(said)}; {remedy}")


def _first_line(reason: BaseException) -> str:
    """What an exception says; the lines that torch adds to an error of CUDA are the same for all."""
    return one_line(str(reason).strip().partition("\n")[0].partition(". ")[0]) or type(reason).__name__


def _says(reason: BaseException, pattern: re.Pattern[str]) -> bool:
    try:
        return isinstance(reason, RuntimeError) and pattern.match(str(reason)) is not None
    except Exception:  # a plugin's exception may be unable to say anything
        return False


def _with_causes(reason: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it was raised from (``raise ... from``)."""
    seen: list[BaseException] = []
    one: BaseException | None = reason
    while one is not None and not any(one is other for other in seen):
        seen.append(one)
        yield one
        one = one.__cause__
