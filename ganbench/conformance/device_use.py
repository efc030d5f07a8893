"""What a program asks of a GPU, counted by the line that asked: waits, copies, operations that do not repeat."""

from __future__ import annotations

import contextlib
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import ganbench
from ganbench.harness.telemetry import nondeterministic_operation

_TORCH, _GANBENCH = (f"{Path(str(module.__file__)).parent}/" for module in (torch, ganbench))
_SELF = (__file__, f"{_GANBENCH}conformance/pretended_device/")
_HARNESS = tuple(f"{_GANBENCH}{name}/" for name in ("harness", "conformance", "executors"))
_STANDARD, _INSTALLED = (f"{sysconfig.get_path(name)}/" for name in ("stdlib", "purelib"))


@dataclass
class Seen:
    """What was asked of a device: how often, by the line that asked (kernels: by their names).

    On a GPU, ``waits`` holds the copies too, and kernels are not counted.
    """

    kernels: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    to_device: Counter[str] = field(default_factory=Counter)
    to_host: Counter[str] = field(default_factory=Counter)
    nondeterministic: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Count anew."""
        for counter in vars(self).values():
            counter.clear()


def where() -> str:
    """The innermost line outside torch and Python's library, a plugin's before ganbench's, and torch's layer there if
    there is one: ``my_gan.py, line 12, in ReflectionPad2d``.
    """
    first = layer = ""
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_TORCH):
            module = frame.f_locals.get("self") if frame.f_code.co_name == "forward" and not layer else None
            layer = f", in {type(module).__name__}" if isinstance(module, nn.Module) else layer
        elif not path.startswith((*_SELF, "<")) and (path.startswith(_INSTALLED) or not path.startswith(_STANDARD)):
            text = f"{_short(path)}, line {frame.f_lineno}{layer}"
            first = first or text
            if not path.startswith(_GANBENCH):
                return text
            if path.startswith(_HARNESS):  # no plugin asked for it
                break
        frame = frame.f_back
    return first or "?"


def _short(path: str) -> str:
    """A file's name; that of a library with its folders: ``torchgan/losses/loss.py``."""
    for root in (_INSTALLED, str(Path(_GANBENCH).parent) + "/"):
        if path.startswith((_INSTALLED, _GANBENCH)) and path.startswith(root):
            return path.removeprefix(root)
    return Path(path).name


@contextlib.contextmanager
def watched() -> Iterator[Seen]:
    """A block in which a GPU says, by warnings of torch, what is waited for and what has no deterministic kernel."""
    seen, before = Seen(), torch.cuda.get_sync_debug_mode()

    def note(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if "called a synchronizing CUDA operation" in str(message):
            seen.waits[where()] += 1
        elif operation := nondeterministic_operation(str(message)):
            seen.nondeterministic[f"{where()} ({operation})"] += 1

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = note
            yield seen
    finally:
        torch.cuda.set_sync_debug_mode(before)
