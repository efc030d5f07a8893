"""The ``slurm`` engine runs jobs on a SLURM cluster, each as one batch job that submitit writes and starts.

submitit asks ``sacct`` how a job ended, and waits for ever where accounting is off. So the queue itself is asked here
(``squeue`` remembers an ended job for some minutes), and a deadline is kept on the driver too.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ganbench.executors import DeadlineExceeded, EngineLost, Job, slurm_commands
from ganbench.executors.remote import incoming, outgoing
from ganbench.executors.slurm_job import Submitted, answer, loss, work
from ganbench.utils.errors import UsageError, in_words, one_line

WINDOW = 100  # jobs in the queue at a time, unless --jobs says
POLL_SECONDS = 1.0
QUEUE_SECONDS = 5.0  # between two questions to the controller, whatever the number of jobs
SILENT_SECONDS = 600.0  # without an answer of the controller until a sweep is given up
RESULT_SECONDS = 15.0  # that a network file system may take to show the result of a job that has ended
GRACE_SECONDS = 120.0  # beyond a job's deadline: until its process is up, and its end is seen
OWN_BYTES = 10**9  # that the processes around a trial hold, torch among it; they count towards its job's limit
CONTEXT_BYTES = 4 * 10**9  # room for the RAM of a CUDA context and its libraries, which differs by version

# Options of sbatch by which jobs are known, heard and followed here.
OWN_OPTIONS = {"job-name", "output", "error", "open-mode", "signal", "array", "ntasks", "ntasks-per-node", "nodes"}
OWN_OPTIONS |= {"requeue", "no-requeue", "wait", "parsable", "chdir", "export"}


class SlurmExecutor:
    """``jobs`` batch jobs in the queue at a time.

    Options:
        folder: for batch scripts and results, seen by every node; by default below the user's cache.
        Any other is one of ``sbatch``: ``partition``, ``account``, ``exclude``, ...; not ``job-name`` and others by
        which jobs are followed.
    """

    isolated = True
    remote = True

    def __init__(self, jobs: int | None, threads: int, options: Mapping[str, str]) -> None:
        if "address" in options:
            raise UsageError("--address is not for SLURM: its commands know their cluster")
        self._options = {name.replace("_", "-"): value for name, value in options.items() if name != "folder"}
        if own := sorted(OWN_OPTIONS & self._options.keys()):
            raise UsageError(
                f"--executor-option {own[0]}: ganbench sets it itself, to follow its jobs by it; leave it out"
            )
        self.slots, self.window, self._threads = jobs, jobs or WINDOW, threads
        submitit = _submitit()
        slurm_commands.require()
        if (why := slurm_commands.why_no_accounting()) is not None:
            print(
                f"SLURM accounting is off here ({why}): how a job ended is asked of the queue, which forgets it after "
                "some minutes; with --timeout no trial is waited for longer than that",
                file=sys.stderr,
            )
        self._resources = contextlib.ExitStack()
        self._folder = self._resources.enter_context(slurm_commands.exchange(_root(options.get("folder"))))
        self._submitit = submitit.SlurmExecutor(folder=self._folder)
        self._lock = threading.Lock()
        self._jobs: dict[str, Submitted] = {}
        self._held: deque[Submitted] = deque()  # what sbatch does not take yet
        self._accepted = self._full = False  # whether sbatch took one, and whether it ever refused another
        self._names_gpus = self.naming_gpus(self._options)
        self._took = self._heard = self._asked = time.monotonic()
        self._told = -math.inf
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="ganbench-slurm", daemon=True)
        self._watcher.start()

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        """Hand a job to SLURM, or hold it back until the queue takes more."""
        if not self._accepted:
            self._check_gpus(job)
        one = Submitted(job)
        if self._held:
            self._held.append(one)
            return one.future
        said = self._send(one)
        if said is not None:
            if not self._accepted:
                raise UsageError(f"sbatch refuses a trial: {said}")
            self._held.append(one)
            if not self._full:
                print(
                    f"sbatch takes no more trials now ({said}): the others follow as some end; --jobs "
                    f"{max(1, len(self._jobs))} asks for no more at a time",
                    file=sys.stderr,
                )
            self._full = True
        self._accepted = True
        return one.future

    @staticmethod
    def naming_gpus(options: Mapping[str, str]) -> list[str]:
        """The options of ``sbatch`` that ask for GPUs."""
        return [
            f"{name}={value}"
            for name, value in options.items()
            if name.startswith("gpus") or (name.startswith(("gres", "tres-")) and "gpu" in value)
        ]

    def _check_gpus(self, job: Job) -> None:
        """Before the first job: raise UsageError for GPUs that SLURM would give and no trial use, or say so."""
        if job.gpus not in (0, 1):
            raise UsageError(f"--gpus-per-trial {job.gpus:g}: SLURM gives whole GPUs, so 0 or 1; Ray shares them")
        if job.gpus:
            return
        if self._names_gpus:
            raise UsageError(
                f"--executor-option {self._names_gpus[0]}: trials would be given GPUs and run on the CPU: add "
                "--gpus-per-trial 1, which gives each one, or leave it out"
            )
        partition = self._options.get("partition")
        if partition and job.payload.get("device") != "cpu" and (gpus := slurm_commands.gpus_of(partition)):
            print(
                f"the nodes of partition {partition} have GPUs ({gpus}), and trials run on their CPUs: "
                "--gpus-per-trial 1 gives each trial a GPU; --device cpu says that none is wanted",
                file=sys.stderr,
            )

    def _send(self, one: Submitted) -> str | None:
        """Put a job into the queue; what ``sbatch`` says where it takes none. Never called from two threads at once:
        the watcher sends only what is held, and then ``submit`` sends nothing.
        """
        self._submitit.parameters.clear()
        self._submitit.update_parameters(**self._parameters(one.job))
        try:
            one.batch = self._submitit.submit(work, outgoing(one.job, self._threads))
        except Exception as reason:
            return one_line(str(reason))
        self._took = self._heard = time.monotonic()
        with self._lock:
            self._jobs[one.batch.job_id] = one
        return None

    def stop(self) -> None:
        if time.monotonic() - self._told > 2 * POLL_SECONDS:
            self._told = time.monotonic()
            started = [name for name, one in self._known().items() if one.started is not None]
            slurm_commands.cancel(started, "--signal=TERM")

    def close(self, cancel: bool = False) -> None:
        if not cancel:
            for one in (*self._known().values(), *self._held):
                with contextlib.suppress(Exception):
                    one.future.exception()
        self._closing.set()
        self._watcher.join()
        self._resources.close()  # and ends what is left in the queue

    def _parameters(self, job: Job) -> dict[str, Any]:
        """What submitit writes into the batch script; a limit that nobody gave is the partition's."""
        found: dict[str, Any] = {
            "job_name": self._folder.name,
            "cpus_per_task": math.ceil(job.cpus),
            "signal_delay_s": 1,
            "time": None if job.deadline is None else math.ceil((job.deadline + GRACE_SECONDS) / 60),
            "additional_parameters": {"no-requeue": True, **self._options},  # what is tried again is decided above
        }
        if job.gpus and not self._names_gpus:
            found["gpus_per_node"] = 1
        if job.memory is not None:
            beside = OWN_BYTES + (CONTEXT_BYTES if job.gpus else 0)
            found["mem"] = f"{math.ceil((job.memory + beside) / 2**20)}MB"
        return found

    def _known(self) -> dict[str, Submitted]:
        with self._lock:
            return dict(self._jobs)

    def _watch(self) -> None:
        while not self._closing.wait(POLL_SECONDS):
            jobs = self._known()
            try:
                asks = time.monotonic() - self._asked > QUEUE_SECONDS
                if jobs and asks:
                    self._ask(jobs)
                for name, one in jobs.items():
                    self._look(name, one)
                if self._held and asks:
                    self._asked = time.monotonic()
                    self._send_held()
            except Exception as reason:  # without this thread a sweep would wait for ever
                lost = EngineLost(f"SLURM's jobs cannot be followed any more: {in_words(reason)}")
                for one in (*jobs.values(), *self._held):
                    if not one.future.done():
                        one.future.set_exception(lost)

    def _send_held(self) -> None:
        """Try again what ``sbatch`` did not take, in turn."""
        while self._held:
            one = self._held[0]
            if not one.future.cancelled() and (said := self._send(one)) is not None:
                if self._known() or time.monotonic() - self._took < SILENT_SECONDS:
                    return
                one.future.set_exception(EngineLost(f"sbatch takes no trial any more: {said}"))
            self._held.popleft()

    def _ask(self, jobs: Mapping[str, Submitted]) -> None:
        """Learn the states of jobs from the queue."""
        now = self._asked = time.monotonic()
        states = slurm_commands.states(self._folder.name)
        if states is None:
            return
        self._heard = now
        for name, one in jobs.items():
            one.state = states.get(name, "GONE")
            if one.state in slurm_commands.RUNNING and one.started is None:
                one.started = now
            if one.state not in (*slurm_commands.WAITING, *slurm_commands.RUNNING) and one.ended is None:
                one.ended = now

    def _look(self, name: str, one: Submitted) -> None:
        """Give the future of a job that has ended its result, or what it raises."""
        finished = one.batch.paths.result_pickle.exists()
        if (finished or one.started is not None) and not one.future.running():
            one.future.set_running_or_notify_cancel()
        if one.future.cancelled():
            slurm_commands.cancel([name])
        else:
            try:
                if not finished:
                    self._check(name, one)
                    return
                one.future.set_result(incoming(answer(one.batch)))
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
            raise loss(name, one)
        if (
            one.started is not None
            and one.job.deadline is not None
            and now - one.started > one.job.deadline + GRACE_SECONDS
        ):
            slurm_commands.cancel([name])
            raise DeadlineExceeded(f"it ran longer than {one.job.deadline:g} s")
        if now - self._heard > SILENT_SECONDS:
            raise EngineLost(f"SLURM's controller has not answered for {SILENT_SECONDS:g} s")


def _root(folder: str | None) -> Path:
    from platformdirs import user_cache_path

    return Path(folder).absolute() if folder else user_cache_path("ganbench") / "slurm"


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as reason:
        raise UsageError(f"--executor slurm needs submitit: pip install 'ganbench[slurm]' ({reason})") from None
    return submitit
