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
from dataclasses import dataclass, field, replace
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
from ganbench.executors.leases import Lease, Leases
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
    DEVICE_LOST = "its GPU could not be had, or was lost"
    CROWDED = "memory ran out on a GPU that others use too"
    DOUBTFUL = "its code or its GPU is at fault, and nobody can tell which"


# No fault of the job's own: somebody killed it (an operator, or the system for memory), stopped it, or lost its node.
REPEATED = (End.KILLED, End.OUT_OF_MEMORY, End.MACHINE_LOST, End.INTERRUPTED)
# What a job says of its device (``run_job``), which tells nothing of the job yet.
DEVICE_FAULTS = {"DeviceLost": End.DEVICE_LOST, "Crowded": End.CROWDED, "Doubtful": End.DOUBTFUL}
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
        return self.how not in (End.RETURNED, End.FAILED, End.USAGE, End.UNWRITABLE) and not self.device_fault

    @property
    def device_fault(self) -> bool:
        """Whether its device is to blame, or may be: it says nothing of the job."""
        return self.how in DEVICE_FAULTS.values()


class OnInterrupt(enum.Enum):
    """What happens to running jobs at the first Ctrl-C or SIGTERM; the second one ends them at once in any case."""

    ABANDON = "they are ended at once"
    FINISH = "what runs is finished"
    CHECKPOINT = "what runs writes a checkpoint"


@dataclass
class _Running(Generic[Task]):
    """A task that waits or whose job runs.

    Attributes:
        attempt: which one it is; ``lost_at``: how far the task had got when the last one was lost.
        lease: of its device while it runs.
        alone: its next job shares its device with no other; ``elsewhere``: the device that it should not get.
    """

    task: Task
    attempt: int = 1
    lost_at: float = math.inf
    lease: Lease | None = None
    alone: bool = False
    elsewhere: str | None = None

    def job(self, job: Job, each: int) -> Job:
        """The job, on the device that is leased; ``each``: jobs that may share a device."""
        extra: dict[str, Any] = {}
        if self.lease is not None:
            extra = {"device": self.lease.device, "leased": True}
            if each > 1 and not self.alone:
                extra |= {"shared": True, "fraction": 1 / each}
        elif 0 < job.gpus < 1:  # on a cluster
            extra = {} if self.alone else {"shared": True}
        if self.alone:
            extra["alone"] = True
        gpus = math.ceil(job.gpus) if self.alone else job.gpus
        return replace(job, payload={**job.payload, **extra}, gpus=gpus) if extra else job


def run_jobs(
    executor: Executor,
    tasks: Iterable[Task],
    make_job: Callable[[Task], Job],
    *,
    leases: Leases | None = None,
    on_interrupt: OnInterrupt = OnInterrupt.ABANDON,
    title: Callable[[Task], str] = str,
    note: Callable[[str], None] = lambda text: None,
    progress: Callable[[Task], float] = lambda task: 0,
    watch: Callable[[list[Task]], None] = lambda tasks: None,
) -> Generator[tuple[Task, Ended]]:
    """Run one job for each task, as many at a time as the engine has use for; yield tasks as their jobs end.

    A job that was lost by no fault of its own is submitted again, up to ``ATTEMPTS`` times without progress; on another
    GPU where its own was lost, and alone on one where others on it may be why it failed.

    Args:
        make_job: called when a task's turn has come, and again for each further attempt.
        leases: the GPUs of this machine, of which each job gets one; they say how many jobs run at a time.
        title: of a task, for messages; ``note`` is told of further attempts and of stopping.
        progress: how far a task has got, asked when its job has ended; attempts count anew where it got further.
        watch: called with the tasks that run, about every ``POLL_SECONDS``.

    Raises:
        EngineLost: no job can run any more.
        UsageError: the machine that a job came to cannot run it, for the user's doing.
        KeyboardInterrupt: Ctrl-C or SIGTERM has come, and running jobs were treated as ``on_interrupt`` says.
    """
    waiting: deque[_Running[Task]] = deque(_Running(task) for task in tasks)
    running: dict[Future[dict[str, Any]], _Running[Task]] = {}
    watched = -math.inf

    def collect(seconds: float) -> Iterator[tuple[Task, Ended]]:
        """Wait for jobs that end; yield those that are over, and put those that are tried again back into the queue."""
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
            device = None if one.lease is None else one.lease.device
            if leases is not None and one.lease is not None:
                leases.give_back(one.lease)
                if ended.how is End.DEVICE_LOST and one.lease.device not in leases.aside:
                    leases.put_aside(one.lease.device, ended.reason)
                    left = f"what is left: {', '.join(leases.devices)}" if leases.devices else "it was the last GPU"
                    note(f"{ended.reason}. {one.lease.device} gets no more trials in this run; {left}")
            if signals.stop_requested() and (ended.how in (*REPEATED, End.DIED) or ended.device_fault):
                continue  # ended by the interrupt, or not for good; the next command continues it
            if ended.how in (End.CROWDED, End.DOUBTFUL) and not one.alone:
                note(f"{title(one.task)}: {ended.reason}; it is tried again alone on a GPU")
                one.alone, one.elsewhere = True, device
                waiting.append(one)  # when nothing else waits: a GPU is emptied for it
            elif one.attempt < ATTEMPTS and (ended.how in REPEATED or (ended.how is End.DEVICE_LOST and elsewhere())):
                again = "continuing it" if on_interrupt is OnInterrupt.CHECKPOINT else "trying it again"
                tries = "" if ended.how is End.INTERRUPTED else f" (attempt {one.attempt + 1} of {ATTEMPTS})"
                said = f"{device} was lost" if device and ended.how is End.DEVICE_LOST else ended.reason
                note(f"{title(one.task)}: {said}; {again}{tries}")
                one.attempt, one.lost_at = one.attempt + 1, reached
                waiting.appendleft(one)
            else:
                yield one.task, _after(one.attempt, ended)

    def elsewhere() -> bool:
        """Whether there may be another device for a job that lost its own."""
        return executor.remote if leases is None else bool(leases.devices)

    def submit() -> Future[dict[str, Any]] | None:
        """Start the job of the task whose turn it is; None where all GPUs are taken."""
        one = waiting[0]
        if leases is not None:
            one.lease = leases.lease(one.alone, one.elsewhere)
            if one.lease is None:
                return None
        waiting.popleft()
        future = executor.submit(one.job(make_job(one.task), 1 if leases is None else leases.each))
        running[future] = one
        return future

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
            if leases is not None and not leases.devices and not running:
                why = "; ".join(leases.aside.values())
                while waiting:
                    yield waiting.popleft().task, Ended(End.DEVICE_LOST, f"no GPU is left: {why}")
                return
            # No more than the engine has use for: a sweep of thousands would fill the driver, and its queue.
            while waiting and not signals.stop_requested() and (leases is not None or len(running) < executor.window):
                if (future := submit()) is None:
                    break
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
    if result.get("device_fault") in DEVICE_FAULTS:
        return Ended(DEVICE_FAULTS[result["device_fault"]], str(result.get("reason")))
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
