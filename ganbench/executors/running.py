"""Submits jobs to an executor and says how each one ended: the one way in which every command runs jobs.

What was lost by no fault of the job is tried again here, and Ctrl-C and SIGTERM are answered here. Engines only run
what they are given.
"""

from __future__ import annotations

import contextlib
import enum
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ganbench.executors import (
    DeadlineExceeded,
    EngineLost,
    Executor,
    Job,
    MachineLost,
    MemoryExceeded,
    OutOfMemory,
    WorkerDied,
)
from ganbench.utils import signals
from ganbench.utils.errors import UsageError, in_words

ATTEMPTS = 3  # at a job whose process or machine was lost, without getting further
STOP_SECONDS = 10.0  # that running jobs have to come to an end when the command is to stop
POLL_SECONDS = 0.5

Task = TypeVar("Task")


class End(enum.Enum):
    """How a job can end."""

    RETURNED = "it returned a result"
    FAILED = "the plugin's code raised an exception"
    USAGE = "what the user asked for cannot be done"
    UNWRITABLE = "the disk could not be written"
    INTERRUPTED = "it wrote a checkpoint and stopped, as SIGTERM asks"
    DEADLINE = "it ran longer than its deadline"
    MEMORY = "it held more memory than its limit"
    DIED = "its process ended by itself"
    KILLED = "its process was killed from outside"
    OUT_OF_MEMORY = "the system killed its process because memory was short"
    MACHINE_LOST = "the machine that ran it is gone"
    ENGINE_FAULT = "the engine lost it, or gave back something that is no result"


# No fault of the job's own: somebody killed it (an operator, or the system for memory), stopped it, or lost its node.
REPEATED = (End.KILLED, End.OUT_OF_MEMORY, End.MACHINE_LOST, End.INTERRUPTED)
KILLED = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP)


@dataclass(frozen=True)
class Ended:
    """How a job ended: with a result, or with the reason why there is none."""

    how: End
    reason: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def returned(self) -> bool:
        return self.how is End.RETURNED

    @property
    def lost(self) -> bool:
        """Whether its process ended, or was ended, before it could answer."""
        return self.how not in (End.RETURNED, End.FAILED, End.USAGE, End.UNWRITABLE)


class OnInterrupt(enum.Enum):
    """What happens to running jobs at the first Ctrl-C or SIGTERM; the second one ends them at once in any case."""

    ABANDON = "they are ended at once"
    FINISH = "what runs is finished"
    CHECKPOINT = "what runs writes a checkpoint"


@dataclass
class _Running(Generic[Task]):
    """A task whose job runs: which attempt it is, and how far the task had got when the last one was lost."""

    task: Task
    attempt: int = 1
    lost_at: float = math.inf


def run_jobs(
    executor: Executor,
    tasks: Iterable[Task],
    make_job: Callable[[Task], Job],
    *,
    on_interrupt: OnInterrupt = OnInterrupt.ABANDON,
    title: Callable[[Task], str] = str,
    note: Callable[[str], None] = lambda text: None,
    progress: Callable[[Task], float] = lambda task: 0,
    watch: Callable[[list[Task]], None] = lambda tasks: None,
) -> Generator[tuple[Task, Ended]]:
    """Run one job for each task, as many at a time as the engine has use for; yield tasks as their jobs end.

    A job that was lost by no fault of its own is submitted again, up to ``ATTEMPTS`` times without progress.

    Args:
        make_job: called when a task's turn has come, and again for each further attempt.
        title: of a task, for messages; ``note`` is told of further attempts and of stopping.
        progress: how far a task has got, asked when its job has ended; attempts count anew where it got further.
        watch: called with the tasks that run, about every ``POLL_SECONDS``.

    Raises:
        EngineLost: no job can run any more.
        UsageError: the machine that a job came to cannot run it, for the user's doing.
        KeyboardInterrupt: Ctrl-C or SIGTERM has come, and running jobs were treated as ``on_interrupt`` says.
    """
    waiting = deque(tasks)
    running: dict[Future[dict[str, Any]], _Running[Task]] = {}
    watched = -math.inf

    def collect(seconds: float) -> Iterator[tuple[Task, Ended]]:
        nonlocal watched
        done, _ = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
        if time.monotonic() - watched >= POLL_SECONDS:
            watched = time.monotonic()
            watch([one.task for one in running.values()])
        for future in done:
            one = running.pop(future)
            reached = progress(one.task)
            if reached > one.lost_at:
                one.attempt = 1
            ended = how_it_ended(future)
            if signals.stop_requested() and ended.how in (*REPEATED, End.DIED):
                continue  # ended by the interrupt; the next command continues it
            if ended.how in REPEATED and one.attempt < ATTEMPTS:
                again = "continuing it" if on_interrupt is OnInterrupt.CHECKPOINT else "trying it again"
                tries = "" if ended.how is End.INTERRUPTED else f" (attempt {one.attempt + 1} of {ATTEMPTS})"
                note(f"{title(one.task)}: {ended.reason}; {again}{tries}")
                one.attempt, one.lost_at = one.attempt + 1, reached
                running[executor.submit(make_job(one.task))] = one
            else:
                yield one.task, _after(one.attempt, ended)

    def stop() -> Iterator[tuple[Task, Ended]]:
        """Give running jobs time to come to an end."""
        for future in [future for future in running if future.cancel()]:
            del running[future]
        if running:
            note(f"stopping: {on_interrupt.value}, within {STOP_SECONDS:g} s; Ctrl-C again ends it at once")
        deadline = time.monotonic() + STOP_SECONDS
        while running and time.monotonic() < deadline:
            if on_interrupt is OnInterrupt.CHECKPOINT:
                executor.stop()  # again: a process may have been starting when it was first asked
            yield from collect(POLL_SECONDS / 5)
        for one in running.values():
            used = "; its last checkpoint is used" if on_interrupt is OnInterrupt.CHECKPOINT else ""
            note(f"{title(one.task)}: it did not stop in time{used}")

    gentle = on_interrupt is not OnInterrupt.ABANDON
    with signals.graceful() if gentle else contextlib.nullcontext():
        while (waiting or running) and not signals.stop_requested():
            # No more than the engine has use for: a sweep of thousands would fill the driver, and its queue.
            while waiting and len(running) < executor.window and not signals.stop_requested():
                task = waiting.popleft()
                future = executor.submit(make_job(task))
                running[future] = _Running(task)
                if future.done():  # an engine that runs a job as it is submitted
                    yield from collect(0)
            if running:
                yield from collect(POLL_SECONDS)
        if signals.stop_requested():
            if gentle:
                yield from stop()
            raise KeyboardInterrupt


def run_one_job(executor: Executor, job: Job) -> Ended:
    """Run a single job, and wait for it; raises as ``run_jobs`` does."""
    ((_, ended),) = run_jobs(executor, [job], lambda job: job)
    return ended


def how_it_ended(future: Future[dict[str, Any]]) -> Ended:
    """How a job ended, from its future; raises EngineLost and UsageError, after which no other job need be tried."""
    try:
        result = future.result()
    except (EngineLost, UsageError):
        raise
    except DeadlineExceeded as reason:
        return Ended(End.DEADLINE, str(reason))
    except MemoryExceeded as reason:
        return Ended(End.MEMORY, str(reason))
    except MachineLost as reason:
        return Ended(End.MACHINE_LOST, str(reason))
    except OutOfMemory as reason:
        return Ended(End.OUT_OF_MEMORY, str(reason))
    except WorkerDied as reason:
        return Ended(End.KILLED if reason.exit_code in KILLED else End.DIED, str(reason))
    except Exception as reason:  # the engine's own fault, or its user cancelled the job
        return Ended(End.ENGINE_FAULT, f"its executor lost it: {in_words(reason)}")
    if not isinstance(result, dict):
        return Ended(End.ENGINE_FAULT, f"its executor returned no result but {type(result).__name__}")
    if "interrupted" in result:
        return Ended(End.INTERRUPTED, "somebody stopped it with SIGTERM")
    if "unwritable" in result:
        return Ended(End.UNWRITABLE, result["unwritable"])
    if "failed" in result:
        return Ended(End.USAGE if result.get("usage") else End.FAILED, result["failed"])
    return Ended(End.RETURNED, result=result)


def _after(attempt: int, ended: Ended) -> Ended:
    """The end of a job's last attempt, which tells how many there were."""
    if ended.how is End.INTERRUPTED:  # as under a time limit that is shorter than its start
        return Ended(ended.how, f"it was stopped {ATTEMPTS} times before it got any further")
    if attempt > 1 and ended.how in (End.DIED, *REPEATED):
        return Ended(ended.how, f"{ended.reason}, {attempt} times")
    return ended
