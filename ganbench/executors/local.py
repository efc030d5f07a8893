"""The ``local`` engine runs each job in a fresh process on this machine, forked from one that has torch loaded.

Starting such a process takes hundredths of a second instead of the seconds that importing torch takes. It ends with its
job: whatever a plugin leaves behind (a thread, a child process, a broken standard output, an exit code of 0 without a
result) ends with it and costs no other job. Pebble does likewise and was tried: it hung where a job ended itself with
code 0, lost a slot to a thread that a job left behind, and raised for the whole pool.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from typing import Any

from ganbench.executors import DeadlineExceeded, Job, MemoryExceeded, OutOfMemory, WorkerDied, ending, known_options
from ganbench.utils import memory, signals

# What nearly every trial imports, the compiler that torch's optimizers load at their first use among it.
PRELOAD = (
    "ganbench.executors.forkserver_setup",
    "ganbench.executors.jobs",
    "ganbench.metrics.kernel",
    "ganbench.metrics.manifold",
    "sklearn.datasets",
    "torch._dynamo",
)

MOST_RESULT = 1 << 32  # bytes of what a job's process tells; a sample of a million small images has about as many
MOST_JOBS = 1024  # at a time, on the GPUs of one machine
UNSAID = 74  # exit code of a process that cannot tell its result; EX_IOERR
SERVER_GONE = 255  # what multiprocessing gives for a process whose forkserver has ended

_CONTEXT = re.compile(rb"\A(\d{1,11})\n")

# Of all executors in this process, as there is one forkserver.
# Multiprocessing reaps finished children whenever one is started. Reentrant, as a signal's handler may call ``stop``
# while the main thread is in it.
_LOCK = threading.RLock()
_RUNNING: set[Any] = set()


class LocalExecutor:
    """``jobs`` processes at a time, by default one a core, ``threads`` threads each."""

    isolated = True
    remote = False

    def __init__(self, jobs: int | None, threads: int, options: Mapping[str, str]) -> None:
        known_options("local", options, {})
        self.slots = self.window = jobs or max(1, _cores() // threads)
        # Libraries read these when they are loaded, so they are set before the forkserver starts. Passive
        # waiting: a spinning thread without a core of its own makes small networks many times slower.
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ["PYTHONHASHSEED"] = "0"  # a plugin may go through a set of names
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOAD))
        # As many as it is given: ``run_jobs`` gives it ``window`` at a time, or one for each place on a GPU.
        self._pool = ThreadPoolExecutor(max(self.slots, MOST_JOBS), thread_name_prefix="ganbench-job")
        self._closed = False
        # A signal to the whole process group must not take the forkserver from under workers that write checkpoints.
        with _ignoring(signal.SIGTERM):
            forkserver.ensure_running()

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        return self._pool.submit(self._run, job)

    def stop(self) -> None:
        with _LOCK:
            for process in _RUNNING:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGTERM)

    def close(self, cancel: bool = False) -> None:
        if cancel:
            with _LOCK:
                self._closed = True
                for process in _RUNNING:
                    _kill(process.pid)
        self._pool.shutdown(wait=True, cancel_futures=cancel)

    def _run(self, job: Job) -> dict[str, Any]:
        """Run one job in a process of its own; raises WorkerDied, saying how it ended, where it gave no result."""
        receiver, sender = self._context.Pipe(duplex=False)
        payload = {**job.payload, "isolated": True, "memory": job.memory}
        process = self._context.Process(target=_serve, args=(sender, payload))
        kills = memory.system_kills()
        with _LOCK:
            if self._closed:
                raise WorkerDied("the sweep ended before it was started", None)
            process.start()
            server = getattr(forkserver._forkserver, "_forkserver_pid", None)
            _RUNNING.add(process)
        sender.close()
        try:
            said = _await(receiver, process.sentinel, process.pid, job)
            with _LOCK:
                process.join()
            with contextlib.suppress(ValueError):  # a process may say its result and then die: the result counts
                result: dict[str, Any] = json.loads(said)
                return result
            if process.exitcode == -signal.SIGKILL and memory.system_kills() > kills:
                raise OutOfMemory("the system killed its process for want of memory", process.exitcode)
            if process.exitcode == SERVER_GONE and _has_ended(server):  # all jobs end with it: whose fault, none knows
                raise WorkerDied("the process that starts all jobs was killed", -signal.SIGKILL)
            how = ending(process.exitcode)
            if process.exitcode == UNSAID:
                how += ": it ran to its end, but its code had closed the pipe by which it tells its result"
            elif said:
                how += ", and what it told was no result"
            raise WorkerDied(how, process.exitcode)
        finally:
            with _LOCK:
                _kill(process.pid)
                if server is not None:
                    # A plugin may have stopped it, and it says when a process ended.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(server, signal.SIGCONT)
                process.join()
                _RUNNING.discard(process)
                _kill_orphans(server)
            receiver.close()  # not before: a job that ends just now would find nobody to tell its result


def _serve(sender: Connection, payload: dict[str, Any]) -> None:
    """A job's process: run it, send the result as JSON, and end, waiting for no thread that a plugin left behind."""
    with contextlib.suppress(OSError):
        os.setsid()  # with a session of its own, the children of a plugin can be ended with it
    _die_with_parent()
    signals.adopt_orphans()
    pipe, made, pid = sender.fileno(), os.fstat(sender.fileno()), os.getpid()
    try:
        from ganbench.executors.jobs import context_bytes, run_job  # which imports torch, as the forkserver has done

        if payload["memory"] is not None and _may_use_gpu(payload):
            os.write(pipe, b"%d\n" % context_bytes(payload))
        result = json.dumps(run_job(payload)).encode()
    except MemoryError:  # at its limit there may be no room for its reason; a traceback is nobody's
        os._exit(1)
    if os.getpid() != pid:  # a plugin forked, and both went on: one of them tells the result
        os._exit(0)
    for other in memory.family(pid):  # once this process has ended, orphans are no longer known as its own
        _kill(other)
    try:
        if not os.path.samestat(os.fstat(pipe), made):  # a plugin closed it, and opened another file since
            os._exit(UNSAID)
        view = memoryview(result)
        while view:
            view = view[os.write(pipe, view) :]
    except OSError:
        os._exit(UNSAID)
    os._exit(0)


def _await(receiver: Connection, ended: int, pid: int | None, job: Job) -> bytes:
    """Return what a job's process has said when it has ended; raises DeadlineExceeded or MemoryExceeded before that.

    What is said decides nothing until then: a plugin may close the pipe, or write into it, and work on. But where a job
    may use a GPU, a first line says how much RAM its CUDA context holds, and the limit counts from there.
    """
    watch = None if job.memory is None or pid is None else memory.Watch(pid, job.memory)
    ends = math.inf if job.deadline is None else time.monotonic() + job.deadline
    context, waits = None, _may_use_gpu(job.payload)
    os.set_blocking(receiver.fileno(), False)
    said = bytearray()
    handles: list[Any] = [receiver, ended]
    while True:
        left = min(max(0.0, ends - time.monotonic()), math.inf if watch is None else memory.POLL_SECONDS)
        ready = wait(handles, None if left == math.inf else left)
        if receiver in ready and not _read(receiver, said):
            handles.remove(receiver)
        if ended in ready:
            while receiver in handles and _read(receiver, said):
                pass
            return _CONTEXT.sub(b"", said)
        if len(said) > MOST_RESULT:
            raise WorkerDied(f"it told more than the {MOST_RESULT:,} bytes that a result may have", None)
        if watch is not None and context is None and (context := _CONTEXT.match(said)):
            watch.beside = int(context[1])
        if watch is not None and (context is not None or not waits) and watch.exceeded():
            about = f", beside {watch.beside / memory.GIGABYTE:.1f} GB of its CUDA context" if watch.beside else ""
            raise MemoryExceeded(f"it held more than {watch.most / memory.GIGABYTE:g} GB of memory (--memory){about}")
        if time.monotonic() >= ends:
            raise DeadlineExceeded(f"it ran longer than {job.deadline:g} s")


def _may_use_gpu(payload: Mapping[str, Any]) -> bool:
    return payload.get("device") not in (None, "cpu", "cpu:0")


def _read(receiver: Connection, said: bytearray) -> bool:
    """Read what a job has written into its pipe and add it to ``said``; False at the pipe's end."""
    try:
        new = os.read(receiver.fileno(), 1 << 20)
    except OSError:  # a process that the job left behind holds the other end, and says nothing
        return False
    said += new
    return bool(new) and len(said) <= MOST_RESULT


def _has_ended(pid: int | None) -> bool:
    """Whether that child of this process has ended, or does within a second: its pipes close a little earlier."""
    ends = time.monotonic() + 1
    while pid is not None and time.monotonic() < ends:
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
        except ChildProcessError:  # it was waited for already
            return True
        time.sleep(0.01)
    return False


def _die_with_parent() -> None:
    """Have the system end this process with its forkserver, which ends with the driver: also in a call that hangs."""
    # The forkserver goes on while anybody holds the other end of this pipe, and it gives every child a copy.
    alive = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        signals.end_with_parent()


@contextlib.contextmanager
def _ignoring(number: int) -> Iterator[None]:
    """What is started in the block ignores that signal."""
    previous = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, previous)


def _kill(pid: int | None) -> None:
    """End a job's process and what it started; one that is gone already is no error."""
    if pid is None:
        return
    for other in memory.family(pid):  # in other sessions too
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(other, signal.SIGKILL)
    for end in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)


def _kill_orphans(server: int | None) -> None:
    """End what jobs that ended by themselves have left behind: what the forkserver has as a child and is no job."""
    if server is not None:
        for pid in memory.children(server) - {process.pid for process in _RUNNING}:
            _kill(pid)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
