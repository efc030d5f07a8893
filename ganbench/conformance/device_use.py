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
from weakref import WeakKeyDictionary

import torch
from torch import nn

import ganbench
from ganbench.harness.telemetry import nondeterministic_operation

_TORCH, _GANBENCH = (f"{Path(str(module.__file__)).parent}/" for module in (torch, ganbench))
_SELF = (__file__, f"{_GANBENCH}conformance/pretended_device/")
_HARNESS = tuple(f"{_GANBENCH}{name}/" for name in ("harness", "conformance", "executors"))
_STANDARD, _SITE = f"{sysconfig.get_path('stdlib')}/", "/site-packages/"


made_at: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
"""Where layers were made, as far as that was noted."""


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
    there is one: ``my_gan.py, line 12, in ReflectionPad2d``. Of a library also the line that calls it.
    """
    first = own = layer = ""
    library: str | None = None
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_TORCH):
            module = frame.f_locals.get("self") if frame.f_code.co_name == "forward" and not layer else None
            layer = _called(module) if isinstance(module, nn.Module) else layer
        elif not path.startswith((*_SELF, "<")) and (_SITE in path or not path.startswith(_STANDARD)):
            if path.startswith(_HARNESS):  # no plugin asked for it
                first = first or f"{_short(path)}, line {frame.f_lineno}{layer}"
                break
            if path.startswith(_GANBENCH):
                first = first or f"{_short(path)}, line {frame.f_lineno}{layer}"
            elif not own:
                own, library = f"{_short(path)}, line {frame.f_lineno}{layer}", _library(path)
                if library is None:
                    return own
            elif _library(path) != library:
                return f"{own}, called at {_short(path)}, line {frame.f_lineno}"
        frame = frame.f_back
    return own or first or "?"


def _called(module: nn.Module) -> str:
    made = made_at.get(module)
    return f", in {type(module).__name__}{f' (made at {made})' if made else ''}"


def _short(path: str) -> str:
    """A file's name; that of a library with its folders: ``torchgan/losses/loss.py``."""
    if path.startswith(_GANBENCH):
        return f"ganbench/{path.removeprefix(_GANBENCH)}"
    return path.rpartition(_SITE)[2] if _SITE in path else Path(path).name


def _library(path: str) -> str | None:
    """The installed package or module that a file is of; None for one that lies elsewhere."""
    return path.rpartition(_SITE)[2].partition("/")[0] if _SITE in path else None


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
