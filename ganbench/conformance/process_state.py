"""The settings of a process that a plugin must not change: read, compared and put back."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import fields
from types import ModuleType
from typing import Any

import torch
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

from ganbench.conformance.errors import CheckFailed
from ganbench.harness.serialization import fingerprint
from ganbench.utils.console import first_few
from ganbench.utils.seeding import Settings, rng_state, seed_everything, set_rng_state

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGSEGV") if hasattr(signal, name))
_AUTOCAST = ("cpu", "cuda")


def process_state() -> dict[str, Any]:
    """Settings of torch, numpy and Python by names that a message can show; random states are not among them."""
    settings = Settings.now()
    return {
        **{f"torch's or Python's {f.name}": getattr(settings, f.name) for f in fields(settings)},
        "whether gradients are recorded": torch.is_grad_enabled(),
        "autocast": {kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in _AUTOCAST},
        "anomaly detection": torch.is_anomaly_enabled(),
        "global hooks of modules": _hooks(modules),
        "global hooks of optimizers": _hooks(optimizers),
        "the working folder": os.getcwd(),
        "the environment": dict(os.environ),
        "sys.path": list(sys.path),
        "signal handlers": [signal.getsignal(number) for number in _SIGNALS],
        "standard output": (sys.stdout, sys.stderr),
        "the root logger": (logging.root.level, list(logging.root.handlers)),
    }


def _hooks(module: ModuleType) -> dict[str, int]:
    return {name: len(v) for name, v in vars(module).items() if name.startswith("_global_") and isinstance(v, dict)}


def restore_process_state(before: dict[str, Any]) -> None:
    """Set everything that can be set to what ``process_state`` found before."""
    now = Settings.now()
    Settings(**{f.name: before[f"torch's or Python's {f.name}"] for f in fields(now)}).set()
    torch.set_grad_enabled(before["whether gradients are recorded"])
    for kind, (enabled, dtype) in before["autocast"].items():
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)
    torch.autograd.set_detect_anomaly(before["anomaly detection"])
    os.chdir(before["the working folder"])
    if dict(os.environ) != before["the environment"]:
        os.environ.clear()
        os.environ.update(before["the environment"])
    sys.path[:] = before["sys.path"]
    for number, handler in zip(_SIGNALS, before["signal handlers"], strict=True):
        with contextlib.suppress(ValueError, TypeError):  # not in the main thread; or not made by Python
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)
    sys.stdout, sys.stderr = before["standard output"]
    logging.root.setLevel(before["the root logger"][0])
    logging.root.handlers[:] = before["the root logger"][1]


@contextlib.contextmanager
def process_state_kept() -> Iterator[None]:
    """Run a block, and leave the process as it was, random states too."""
    before, random = process_state(), rng_state()
    try:
        yield
    finally:
        restore_process_state(before)
        set_rng_state(random)


def require_unchanged_process(what: Any) -> None:
    """Call something twice; raises CheckFailed if the second time it changes the process or a random state."""
    for attempt in (0, 1):  # what a first use imports may set is not the plugin's doing
        seed_everything(attempt)  # what sets a state to the same value each time changes this one
        before, random = process_state(), fingerprint(rng_state())
        what()
        after = process_state()
        restore_process_state(before)
        changed = [name for name in before if after[name] != before[name]]
        if fingerprint(rng_state()) != random:
            changed.append("global random states (use a generator of your own, seeded)")
        if changed and attempt:
            raise CheckFailed(f"it changes {first_few(changed)} of the whole process")
