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

_graceful = False
_requested: float | None = None
_at_once = False


class Interrupted(Exception):
    """A trial that was asked to stop has written its checkpoint."""


def stop_requested() -> bool:
    """Whether this process was asked to stop at the next checkpoint."""
    return _requested is not None


def immediate_stop_requested() -> bool:
    """Whether a second signal asked to end at once."""
    return _at_once


def request_stop() -> None:
    """Ask this process to stop at the next checkpoint."""
    global _requested
    _requested = time.monotonic()


@contextlib.contextmanager
def graceful() -> Iterator[None]:
    """In the block the first signal only makes ``stop_requested`` true; a second one raises KeyboardInterrupt."""
    global _graceful
    _graceful = True
    try:
        yield
    finally:
        _graceful = False


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """In the block Ctrl-C and SIGTERM are ignored, so that ending other processes is not cut short."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def handle_in_driver() -> None:
    """Raise KeyboardInterrupt on Ctrl-C and SIGTERM; in a block of ``graceful`` only on the second one."""
    global _requested, _at_once
    _requested, _at_once = None, False
    owner = os.getpid()

    def interrupt(number: int, frame: Any) -> None:
        global _at_once
        if os.getpid() != owner:
            _die(number)
        first = _requested is None
        if _requested is not None and time.monotonic() - _requested < TWICE_SECONDS:
            return
        _at_once = not first
        request_stop()
        if not (first and _graceful):
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, interrupt)


def handle_in_worker() -> None:
    """Ignore Ctrl-C, which the driver answers, and take SIGTERM as a request to stop at the next checkpoint."""
    owner = os.getpid()

    def terminate(number: int, frame: Any) -> None:
        if os.getpid() != owner:
            _die(number)
        request_stop()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)


def end_with_parent() -> None:
    """Have the system kill this process when its parent ends, even while it hangs. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def adopt_orphans() -> None:
    """Have descendants whose parent ended become this process's children, so that they are found. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _die(number: int) -> None:
    """End by that signal: in a process that a plugin forked and that inherited the handler."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
