"""Random streams: every use of chance in a trial has a name, and its own seed derived from the root seed.

Streams are derived by hashing, never by ``seed + 1``: neighbouring root seeds share nothing.
A trial's: ``initialisation``, ``training``, ``data-order``, ``evaluation``, ``metrics``, ``pictures``. The same in all
trials: ``evaluation-times``, and which real samples are compared with (``validation`` and others of ``real_data``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


def derive(root: int, *path: str | int) -> int:
    """The seed of one named stream: 63 bits of ``SHA-256(root / path)``."""
    text = "/".join(str(part) for part in (root, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch.Generator on ``device``, seeded."""
    return torch.Generator(device).manual_seed(seed)


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch (every device), numpy and random."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def rng_state() -> dict[str, Any]:
    """The states of the global generators (the current GPU's too), as values that a checkpoint can hold."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": {
            "kind": str(kind),
            "keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "random": {"version": version, "internal": torch.tensor(internal, dtype=torch.int64), "gauss": gauss},
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put back what ``rng_state`` returned."""
    torch.set_rng_state(state["torch"].cpu())
    saved = state["numpy"]
    keys = saved["keys"].numpy().astype(np.uint32)
    np.random.set_state((saved["kind"], keys, saved["position"], saved["has_gauss"], saved["cached"]))
    saved = state["random"]
    random.setstate((saved["version"], tuple(saved["internal"].tolist()), saved["gauss"]))
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu())
    if "mps" in state:
        torch.mps.set_rng_state(state["mps"].cpu())


def device_rng_state(device: torch.device) -> torch.Tensor:
    """The state of a device's global generator."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def set_device_rng_state(state: torch.Tensor, device: torch.device) -> None:
    """Put a device's global generator in a state."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)


@contextlib.contextmanager
def preserved_rng(seed: int) -> Iterator[None]:
    """Run a block with the global generators freshly seeded, and put their states back afterwards."""
    state = rng_state()
    seed_everything(seed)
    try:
        yield
    finally:
        set_rng_state(state)


def _precision_switches() -> dict[str, Any]:
    """What holds ``fp32_precision``, the more general first: it decides where a special one says ``none``."""
    backends: Any = torch.backends
    return {
        "all": backends,
        "cudnn": backends.cudnn,
        "cudnn.conv": backends.cudnn.conv,
        "cudnn.rnn": backends.cudnn.rnn,
        "cuda.matmul": backends.cuda.matmul,
        "mkldnn": backends.mkldnn,
        "mkldnn.conv": backends.mkldnn.conv,
        "mkldnn.matmul": backends.mkldnn.matmul,
        "mkldnn.rnn": backends.mkldnn.rnn,
    }


def float32_precision() -> dict[str, Any]:
    """How far products and convolutions of float32 may be rounded, by PyTorch's older and newer interface.

    The older one raises where the newer one was used alone: then it has None here.
    """
    found: dict[str, Any] = {"matmul": None, "allow_tf32": None}
    with contextlib.suppress(RuntimeError):
        found["matmul"] = torch.get_float32_matmul_precision()
    with contextlib.suppress(RuntimeError):
        found["allow_tf32"] = torch.backends.cudnn.allow_tf32
    return found | {name: switch.fp32_precision for name, switch in _precision_switches().items()}


def set_float32_precision(wanted: Mapping[str, Any]) -> None:
    """Set what ``float32_precision`` returned. The older interface comes first: it sets the newer one's switches."""
    if wanted["matmul"] is not None:
        torch.set_float32_matmul_precision(wanted["matmul"])
    if wanted["allow_tf32"] is not None:
        torch.backends.cudnn.allow_tf32 = wanted["allow_tf32"]
    for name, switch in _precision_switches().items():
        switch.fp32_precision = wanted[name]


@dataclass(frozen=True)
class Settings:
    """Settings of a process that decide what the same code computes, or whether it raises."""

    dtype: torch.dtype
    device: torch.device
    threads: int
    deterministic: int
    cudnn: tuple[bool, bool, bool]
    precision: dict[str, Any]
    numpy: dict[str, Any]
    warnings: list[Any]
    recursion: int

    @classmethod
    def now(cls) -> Settings:
        """Those of this process at this moment."""
        return cls(
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.get_num_threads(),
            torch.get_deterministic_debug_mode(),
            (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
            float32_precision(),
            dict(np.geterr()),
            list(warnings.filters),
            sys.getrecursionlimit(),
        )

    def set(self) -> None:
        """Make them those of this process."""
        sys.setrecursionlimit(self.recursion)
        now = Settings.now()
        if now == self:
            return
        torch.set_default_dtype(self.dtype)
        if now.device != self.device:  # setting it at all slows every later call of torch
            torch.set_default_device(None if self.device.type == "cpu" else self.device)
        torch.set_num_threads(self.threads)
        torch.set_deterministic_debug_mode(self.deterministic)
        cudnn = torch.backends.cudnn
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = self.cudnn
        if now.precision != self.precision:
            set_float32_precision(self.precision)
        np.seterr(**self.numpy)
        warnings.filters[:] = self.warnings  # type: ignore[index]

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Run a block under them, and put back afterwards what was set before."""
        before = Settings.now()
        self.set()
        try:
            yield
        finally:
            before.set()


def pin(threads: int) -> None:
    """Make one process deterministic: fixed thread count, deterministic kernels, no autotuned choice.

    The thread count changes the numbers, so it is pinned and recorded. Two things are read by CUDA when it
    starts, hence set here before any CUDA call.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # Operations without a deterministic form (some CUDA scatter kernels) warn into the trial's log and go on.
    # Not use_deterministic_algorithms, which sets the same switch but imports the compiler (seconds).
    torch.set_deterministic_debug_mode("warn")
    # In that mode new tensors are filled first, with a kernel each, against reading them before they are written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # By default cuDNN convolves in TF32. Said by the older interface too, which otherwise raises from here on.
    torch.backends.cudnn.allow_tf32 = False
    for operation in ("conv", "rnn"):
        getattr(torch.backends.cudnn, operation).fp32_precision = "ieee"
