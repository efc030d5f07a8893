"""Executors: engines that run jobs, behind one narrow seam, ``submit(job) -> concurrent.futures.Future``.

A job is a JSON payload plus the resources it wants; every engine calls ``ganbench.jobs.run_job`` with it.
Retries, records and progress live above the seam. An executor is the entry point of group
``ganbench.executors``: a callable ``(jobs=, threads=)`` that returns one.
"""

from __future__ import annotations

import difflib
import signal
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

from ganbench.errors import UsageError

GROUP = "ganbench.executors"


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        payload: JSON-able; ``kind`` says what to do.
        cpus: cores it needs; ``gpus``: devices, fractions allowed.
        deadline: seconds it may run, or None.
        memory: bytes that it may hold in RAM, its child processes' among them, or None.
    """

    payload: dict[str, Any]
    cpus: float = 1
    gpus: float = 0
    deadline: float | None = None
    memory: float | None = None


class WorkerDied(RuntimeError):
    """A job's process ended by itself. ``exit_code`` is negative for a signal, None where the engine cannot tell."""

    def __init__(self, message: str, exit_code: int | None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class OutOfMemory(WorkerDied):
    """The system killed a job's process because the machine, or its share of it, had no memory left."""


class DeadlineExceeded(RuntimeError):
    """A job ran longer than its deadline and was ended."""


class MemoryExceeded(RuntimeError):
    """A job held more memory than it may and was ended."""


# What a future of ``submit`` raises: the job's process is gone, and there is no result.
LOST = (WorkerDied, DeadlineExceeded, MemoryExceeded)


def ending(exit_code: int | None) -> str:
    """How a process ended, from its exit code: negative for a signal."""
    if exit_code is not None and exit_code < 0:
        try:
            return f"its process was killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"its process was killed by signal {-exit_code}"
    return f"its process ended by itself with exit code {exit_code}"


class Executor(Protocol):
    """What an engine does. ``isolated`` says whether each job has a process of its own."""

    isolated: bool

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        """Run a job; the future gives its result, or raises one of ``LOST``."""
        ...

    def stop(self) -> None:
        """Ask what is running to stop at its next checkpoint; may be called again and again."""
        ...

    def close(self, cancel: bool = False) -> None:
        """Wait for what is running, or end it at once with ``cancel``. No process is left behind."""
        ...


def load_executor(name: str, jobs: int, threads: int) -> Executor:
    """The executor of that name; raises UsageError naming the nearest known ones."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        near = difflib.get_close_matches(name, points, n=2) or sorted(points)
        raise UsageError(f"there is no executor {name!r}; there are {', '.join(near)}")
    executor: Executor = points[name].load()(jobs=jobs, threads=threads)
    return executor
