"""Executors, the engines that run jobs: here, in processes of this machine, on a Ray cluster, or under SLURM.

Every engine has one method that matters, ``submit(job) -> concurrent.futures.Future``. A job is a JSON payload plus the
resources that it needs; every engine calls ``ganbench.executors.jobs.run_job`` with the payload. Submitting many jobs,
trying again and stopping are the same for all (``running.py``); records and progress belong in ``runner``. An executor
is an entry point of group ``ganbench.executors``: a callable ``(jobs=, threads=, options=)`` that returns one.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from ganbench.discovery.entry_points import Point, find_installed, why_outdated
from ganbench.utils import signals
from ganbench.utils.errors import UsageError
from ganbench.utils.names import hint

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


class MachineLost(WorkerDied):
    """What a job ran on is gone, by no doing of the job: its node, or the engine's own process there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, None)


class EngineLost(RuntimeError):
    """The engine itself is gone or takes no job any more, so no trial can run; nothing finished is lost."""


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
    """What an engine does.

    Attributes:
        isolated: each job has a process of its own.
        remote: jobs run on other machines, which set aside what a job asks for and share the folders that it names.
        slots: jobs that it runs at a time, or None where it cannot say.
        window: jobs worth having submitted at a time; more would only wait. Both may change.
    """

    isolated: bool
    remote: bool

    @property
    def slots(self) -> int | None: ...

    @property
    def window(self) -> int: ...

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        """Run a job; the future gives its result, or raises one of ``LOST``, UsageError where the machine that it
        came to cannot run it for the user's doing, or EngineLost.
        """
        ...

    def stop(self) -> None:
        """Ask what is running to stop at its next checkpoint; may be called again and again."""
        ...

    def close(self, cancel: bool = False) -> None:
        """Wait for what is running, or end it at once with ``cancel``. No process is left behind."""
        ...


def load_executor(
    name: str, jobs: int | None = None, threads: int = 1, options: Mapping[str, str] | None = None
) -> Executor:
    """The executor of that name.

    Args:
        jobs: at a time; None for what suits the machine or the cluster.
        threads: of a job.
        options: what this engine alone understands, such as ``address``.

    Raises UsageError for an unknown name or option, naming the nearest known ones.
    """
    executor: Executor = _maker(name)(jobs=jobs, threads=threads, options=dict(options or {}))
    return executor


@contextlib.contextmanager
def on_this_machine(name: str, jobs: int | None = None, threads: int = 1) -> Iterator[Executor]:
    """An executor for a block that Ctrl-C and SIGTERM may end; whichever way it ends, no process is left behind.

    Raises UsageError for an unknown name, and for an engine that runs jobs on other machines.
    """
    if getattr(_maker(name), "remote", False):
        raise UsageError(f"--executor {name}: only run and tune send work to other machines; here, local or inline")
    signals.handle_in_driver()
    engine = load_executor(name, jobs, threads)
    finished = False
    try:
        yield engine
        finished = True
    finally:
        with signals.ignored():  # a second Ctrl-C must not leave a process behind
            engine.close(cancel=not finished)


def check_executor(name: str) -> Point:
    """The entry point of an executor, which is not imported; raises UsageError for a name that none has."""
    points = {known: found[0] for known, found in find_installed(GROUP).points.items()}
    if name not in points:
        raise UsageError(f"there is no executor {name!r}; {hint(name, sorted(points))}")
    return points[name]


def _maker(name: str) -> Any:
    point = check_executor(name)
    maker = point.load()
    if (why := why_outdated(getattr(sys.modules[point.module], "GANBENCH_API", None))) is not None:
        raise UsageError(f"executor {name}: {why}")
    return maker


def known_options(name: str, options: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The options with their defaults; raises UsageError for one that the engine does not have."""
    for key in options:
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise UsageError(f"executor {name} has no option {key!r}; {has}")
    return {**known, **options}
