"""Which plugins would end the process that imports them: tried in a child that may die of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence

from ganbench.discovery.entry_points import Point

SECONDS = 120.0  # for importing whatever is installed; torch is there already
_POLL_SECONDS = 0.01


def lethal(points: Sequence[Point], load: Callable[[Point], object]) -> dict[int, str]:
    """What happened, by position in ``points``, to a process that loaded each of those that it did not survive.

    ``load`` is called for what this process has not imported yet, in a forked child. Where there is no fork,
    nothing is tried.
    """
    found: dict[int, str] = {}
    waiting = [i for i, point in enumerate(points) if point.module not in sys.modules]
    while waiting and hasattr(os, "fork"):
        loaded, how = _rehearse([points[i] for i in waiting], load)
        if how is None:
            break
        found[waiting[loaded]] = how
        del waiting[loaded]
    return found


def _rehearse(points: list[Point], load: Callable[[Point], object]) -> tuple[int, str | None]:
    """How many points a child loaded before it ended, and how it ended; None if it loaded them all."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with warnings.catch_warnings():  # the child only imports, and ends without waiting for a thread
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _perform(points, load, writer)
    os.close(writer)
    ends = time.monotonic() + SECONDS
    ended, status = os.waitpid(pid, os.WNOHANG)
    while not ended and time.monotonic() < ends:
        time.sleep(_POLL_SECONDS)
        ended, status = os.waitpid(pid, os.WNOHANG)
    for end in (os.killpg, os.kill) if not ended else (os.killpg,):  # what it started ends with it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)
    if not ended:
        os.waitpid(pid, 0)
    try:
        loaded = len(os.read(reader, 65536))  # one byte a plugin
    except BlockingIOError:
        loaded = 0
    os.close(reader)
    if loaded == len(points):
        return loaded, None
    return loaded, _how(status) if ended else f"did not end within {SECONDS:g} s"


def _perform(points: list[Point], load: Callable[[Point], object], writer: int) -> None:
    """The child: load one after the other, say so after each, and end."""
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        for point in points:
            with contextlib.suppress(BaseException):  # what raises here raises in the parent too, which says so
                load(point)
            os.write(writer, b".")
    finally:
        os._exit(0)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended the process with exit code {code}"
    try:
        return f"killed the process with {signal.Signals(-code).name}"
    except ValueError:
        return f"killed the process with signal {-code}"
