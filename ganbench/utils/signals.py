"""Ctrl-C and SIGTERM: the first asks running trials to stop at their next checkpoint, the second ends them at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

# The terminal and a wrapper (timeout, a package runner, a batch system) may both send the first one.
TWICE_SECONDS = 0.3

_gentle = False
_requested: float | None = None


class Interrupted(Exception):
    """A trial that was asked to stop has written its checkpoint."""


def requested() -> bool:
    """Whether this process was asked to stop at the next checkpoint."""
    return _requested is not None


def request() -> None:
    """Ask this process to stop at the next checkpoint."""
    global _requested
    _requested = time.monotonic()


@contextlib.contextmanager
def gently() -> Iterator[None]:
    """Within the block the first signal only makes ``requested`` true; any other raises KeyboardInterrupt."""
    global _gentle
    _gentle = True
    try:
        yield
    finally:
        _gentle = False


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Within the block Ctrl-C and SIGTERM are ignored: what ends other processes must come to its own end."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def drive() -> None:
    """Let Ctrl-C and SIGTERM end this process with KeyboardInterrupt, or in a block of ``gently`` ask first."""
    global _requested
    _requested = None
    owner = os.getpid()

    def interrupt(number: int, frame: Any) -> None:
        if os.getpid() != owner:
            _die(number)
        first = _requested is None
        if _requested is not None and time.monotonic() - _requested < TWICE_SECONDS:
            return
        request()
        if not (first and _gentle):
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, interrupt)


def follow() -> None:
    """In a worker: leave Ctrl-C to the driver, and take SIGTERM as a request to stop at the next checkpoint."""
    owner = os.getpid()

    def terminate(number: int, frame: Any) -> None:
        if os.getpid() != owner:
            _die(number)
        request()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)


def end_with_parent() -> None:
    """Have the system end this process when its parent has ended, also in a call that hangs. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _die(number: int) -> None:
    """A process that a plugin forked has inherited the handler; it ends as it would without."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
