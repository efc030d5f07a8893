"""Runs jobs on a SLURM cluster, each as one batch job that submitit writes and starts.

submitit asks ``sacct`` how a job ended, and waits for ever where accounting is off. So the queue itself is asked here
(``squeue`` remembers an ended job for some minutes), and a deadline is kept on the driver too.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganbench.errors import UsageError, one_line
from ganbench.executors import DeadlineExceeded, EngineLost, Job, MachineLost, OutOfMemory, WorkerDied, batch
from ganbench.executors.remote import incoming, outgoing, run

WINDOW = 100  # jobs in the queue at a time, unless --jobs says
POLL_SECONDS = 1.0
QUEUE_SECONDS = 5.0  # between two questions to the controller, whatever the number of jobs
SILENT_SECONDS = 600.0  # without an answer of the controller until a sweep is given up
RESULT_SECONDS = 15.0  # that a network file system may take to show the result of a job that has ended
GRACE_SECONDS = 120.0  # beyond a job's deadline: until its process is up, and its end is seen


@dataclass
class Submitted:
    """A job in the queue, its future, and since when it runs or has ended (``time.monotonic``)."""

    job: Job
    batch: Any
    future: Future[dict[str, Any]]
    state: str = "PENDING"
    started: float | None = None
    ended: float | None = None


class SlurmExecutor:
    """``jobs`` batch jobs in the queue at a time.

    Options:
        folder: for batch scripts and results, seen by every node; by default below the user's cache.
        Any other is one of ``sbatch``: ``partition``, ``account``, ``exclude``, ...
    """

    isolated = True
    remote = True

    def __init__(self, jobs: int | None, threads: int, options: Mapping[str, str]) -> None:
        if "address" in options:
            raise UsageError("--address is not for SLURM: its commands know their cluster")
        self._options = {name: value for name, value in options.items() if name != "folder"}
        self.slots, self.window, self._threads = jobs, jobs or WINDOW, threads
        submitit = _submitit()
        batch.require()
        if (why := batch.why_no_accounting()) is not None:
            print(
                f"SLURM accounting is off here ({why}): how a job ended is asked of the queue, which forgets it after "
                "some minutes; with --timeout no trial is waited for longer than that",
                file=sys.stderr,
            )
        self._resources = contextlib.ExitStack()
        self._folder = self._resources.enter_context(batch.exchange(_root(options.get("folder"))))
        self._submitit = submitit.SlurmExecutor(folder=self._folder)
        self._lock = threading.Lock()
        self._jobs: dict[str, Submitted] = {}
        self._accepted = False
        self._heard = self._asked = time.monotonic()
        self._told = -math.inf
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="ganbench-slurm", daemon=True)
        self._watcher.start()

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        self._submitit.parameters.clear()
        self._submitit.update_parameters(**self._parameters(job))
        try:
            submitted = self._submitit.submit(run, outgoing(job, self._threads))
        except Exception as reason:
            said = one_line(str(reason))
            if not self._accepted:
                raise UsageError(f"sbatch refuses a trial: {said}") from None
            raise EngineLost(f"sbatch takes no trial any more: {said}") from None
        self._accepted = True
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            self._jobs[submitted.job_id] = Submitted(job, submitted, future)
        return future

    def stop(self) -> None:
        if time.monotonic() - self._told > 2 * POLL_SECONDS:
            self._told = time.monotonic()
            batch.cancel([name for name, one in self._known().items() if one.started is not None], "--signal=TERM")

    def close(self, cancel: bool = False) -> None:
        if cancel:
            batch.cancel_all(self._folder.name)
        else:
            for one in self._known().values():
                with contextlib.suppress(Exception):
                    one.future.exception()
        self._closing.set()
        self._watcher.join()
        self._resources.close()

    def _parameters(self, job: Job) -> dict[str, Any]:
        """What submitit writes into the batch script; a limit that nobody gave is the partition's."""
        if job.gpus not in (0, 1):
            raise UsageError(f"--gpus-per-trial {job.gpus:g}: SLURM gives whole GPUs, so 0 or 1; Ray shares them")
        found: dict[str, Any] = {
            "job_name": self._folder.name,
            "cpus_per_task": math.ceil(job.cpus),
            "signal_delay_s": 1,
            "time": None if job.deadline is None else math.ceil((job.deadline + GRACE_SECONDS) / 60),
            "additional_parameters": self._options,
        }
        if job.gpus:
            found["gpus_per_node"] = 1
        if job.memory is not None:
            found["mem"] = f"{math.ceil(job.memory / 2**20)}MB"
        return found

    def _known(self) -> dict[str, Submitted]:
        with self._lock:
            return dict(self._jobs)

    def _watch(self) -> None:
        while not self._closing.wait(POLL_SECONDS):
            jobs = self._known()
            if jobs and time.monotonic() - self._asked > QUEUE_SECONDS:
                self._ask(jobs)
            for name, one in jobs.items():
                self._look(name, one)

    def _ask(self, jobs: Mapping[str, Submitted]) -> None:
        """Learn the states of jobs from the queue."""
        now = self._asked = time.monotonic()
        states = batch.states(self._folder.name)
        if states is None:
            return
        self._heard = now
        for name, one in jobs.items():
            one.state = states.get(name, "GONE")
            if one.state in batch.RUNNING and one.started is None:
                one.started = now
            if one.state not in (*batch.WAITING, *batch.RUNNING) and one.ended is None:
                one.ended = now

    def _look(self, name: str, one: Submitted) -> None:
        """Give the future of a job that has ended its result, or what it raises."""
        finished = one.batch.paths.result_pickle.exists()
        if (finished or one.started is not None) and not one.future.running():
            one.future.set_running_or_notify_cancel()
        if one.future.cancelled():
            batch.cancel([name])
        else:
            try:
                if not finished:
                    self._check(name, one)
                    return
                one.future.set_result(incoming(_answer(one.batch)))
            except Exception as reason:
                one.future.set_exception(reason)
        with self._lock:
            del self._jobs[name]
        for path in self._folder.glob(f"{name}_*"):
            path.unlink(missing_ok=True)

    def _check(self, name: str, one: Submitted) -> None:
        """Raise what a job without a result is lost by, where it is lost."""
        now = time.monotonic()
        if one.ended is not None and now - one.ended > RESULT_SECONDS:
            raise _loss(name, one)
        if (
            one.started is not None
            and one.job.deadline is not None
            and now - one.started > one.job.deadline + GRACE_SECONDS
        ):
            batch.cancel([name])
            raise DeadlineExceeded(f"it ran longer than {one.job.deadline:g} s")
        if now - self._heard > SILENT_SECONDS:
            raise EngineLost(f"SLURM's controller has not answered for {SILENT_SECONDS:g} s")


def _loss(name: str, one: Submitted) -> Exception:
    what = f"SLURM job {name}"
    if one.state == "OUT_OF_MEMORY":
        return OutOfMemory(f"{what} was ended for want of memory", -signal.SIGKILL)
    if one.state == "CANCELLED":
        return WorkerDied(f"{what} was cancelled", -signal.SIGTERM)
    if one.state == "TIMEOUT" and one.job.deadline is not None:
        return DeadlineExceeded(f"it ran longer than {one.job.deadline:g} s")
    return MachineLost(f"{what} ended without a result ({one.state.lower().replace('_', ' ')})")


def _answer(job: Any) -> dict[str, Any]:
    outcome, content = job._get_outcome_and_result()
    if outcome != "success":
        raise EngineLost(f"a worker could not begin: {one_line(str(content).strip().splitlines()[-1])}")
    answer: dict[str, Any] = content
    return answer


def _root(folder: str | None) -> Path:
    from platformdirs import user_cache_path

    return Path(folder).absolute() if folder else user_cache_path("ganbench") / "slurm"


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as reason:
        raise UsageError(f"--executor slurm needs submitit: pip install 'ganbench[slurm]' ({reason})") from None
    return submitit
