"""The ``ray`` engine runs jobs on a Ray cluster: Ray chooses the node for each, and notices when one is lost.

Only Ray Core is used. Ray's retries are off: ``executors/running.py`` decides whether a job is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from typing import Any

from ganbench.executors import EngineLost, Job, MachineLost, OutOfMemory, WorkerDied, known_options
from ganbench.executors.remote import Message, incoming, last_line, outgoing
from ganbench.utils.errors import UsageError, in_words
from ganbench.utils.memory import GIGABYTE

Shape = tuple[float, float, float]  # CPUs, GPUs and bytes of memory that a job asks for

KNOCK_SECONDS = 10.0  # for the cluster's address to answer
TRIES = "2"  # of Ray to join what answers there, 40 s each: its 20 are a quarter of an hour where that is no Ray
SURVEY_SECONDS = 5.0  # between two looks at the nodes of the cluster
LISTEN_SECONDS = 5.0  # between two questions whether the head of the cluster is there
SILENT_SECONDS = 30.0  # without an answer until a sweep is given up; after 60 Ray ends this process itself


class RayExecutor:
    """``jobs`` at a time, or as many as the cluster has room for.

    Options:
        address: of the cluster: ``auto`` for the one that this machine belongs to, ``HOST:6379``, or ``local`` to start
            one on this machine for this run.
    """

    isolated = True
    remote = True

    def __init__(self, jobs: int | None, threads: int, options: Mapping[str, str]) -> None:
        address = known_options("ray", options, {"address": "auto"})["address"]
        self._ray = _connect(address)
        # A worker process of Ray only waits for the host beside it, so it may serve one job after the other.
        self._remote = self._ray.remote(max_calls=0, max_retries=0)(_run)
        self._most, self._threads = jobs, threads
        self._lock = threading.Lock()
        self._running: dict[Any, Future[dict[str, Any]]] = {}
        self._stopped: set[Any] = set()  # of those that run: what was asked to stop
        self._shape: Shape | None = None
        self._told_gpus = False
        self._nodes = self._survey()
        self._closing = threading.Event()
        threading.Thread(target=self._follow, name="ganbench-nodes", daemon=True).start()
        if not address.startswith("ray://"):  # there another process is the head's neighbour
            head = self._ray.get_runtime_context().gcs_address
            threading.Thread(target=self._listen, args=(head,), name="ganbench-head", daemon=True).start()

    @property
    def slots(self) -> int | None:
        return self._most if self._shape is None else min(self._room(), self._most or self._room())

    @property
    def window(self) -> int:
        # What waits beside what runs is what a cluster that grows by demand goes by.
        return self._most or max(16, 2 * self._room())

    def _room(self) -> int:
        """For how many jobs of the kind that was last submitted the living nodes have room."""
        return 0 if self._shape is None else sum(_fit(resources, self._shape) for resources in self._nodes)

    def _survey(self) -> list[dict[str, float]]:
        """What the living nodes have. Without the cluster's head this call never returns."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _follow(self) -> None:
        """Know the living nodes; say it where none is left that could run what was submitted."""
        told = False
        while not self._closing.wait(SURVEY_SECONDS):
            with contextlib.suppress(Exception):  # what is not known now is known the next time
                self._nodes = self._survey()
            lacking = self._shape is not None and not self._room()
            if lacking and not told:
                print(f"{self._lack()}; waiting for one that has: Ctrl-C ends the sweep", file=sys.stderr)
            told = lacking

    def _listen(self, head: str) -> None:
        """Give the sweep up where the head of the cluster answers no more."""
        heard = time.monotonic()
        while not self._closing.wait(LISTEN_SECONDS):
            try:
                _knock(head)
                heard = time.monotonic()
            except OSError:
                if time.monotonic() - heard > SILENT_SECONDS:
                    break
        with self._lock:
            futures = list(self._running.values())
        if self._closing.is_set():
            return
        for future in futures:
            with contextlib.suppress(InvalidStateError):  # it has just come to its end
                future.set_exception(EngineLost(f"the head of the Ray cluster ({head}) does not answer any more"))

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        """Hand a job to Ray; raises UsageError where no node of the cluster could ever run it."""
        shape = (job.cpus, job.gpus, job.memory or 0.0)
        if self._shape != shape:
            self._shape = shape
            if not self._room():  # Ray would wait without an end
                raise UsageError(self._lack())
            self._say_unused_gpus(job)
        future: Future[dict[str, Any]] = Future()
        # A job that waits is cancelled by ``stop``: the driver cannot tell it from one that runs.
        future.set_running_or_notify_cancel()
        try:
            reference = self._remote.options(num_cpus=job.cpus, num_gpus=job.gpus, memory=job.memory).remote(
                outgoing(job, self._threads)
            )
        except Exception as reason:
            raise EngineLost(f"Ray takes no job any more ({in_words(reason)})") from reason
        with self._lock:
            self._running[reference] = future

        def done(answer: Future[Message]) -> None:
            with self._lock:
                self._running.pop(reference, None)
                self._stopped.discard(reference)
            with contextlib.suppress(InvalidStateError):  # the engine was lost before
                try:
                    future.set_result(incoming(self._outcome(answer)))
                except BaseException as reason:
                    future.set_exception(reason)

        reference.future().add_done_callback(done)
        return future

    def _say_unused_gpus(self, job: Job) -> None:
        """Say once that the cluster has GPUs where trials use none."""
        there = sum(node.get("GPU", 0.0) for node in self._nodes)
        if there and not job.gpus and job.payload.get("device") not in (None, "cpu") and not self._told_gpus:
            self._told_gpus = True
            print(
                f"the nodes of the Ray cluster have {there:g} GPUs, and trials run on their CPUs: --gpus-per-trial 1 "
                "gives each trial one, 0.5 half of one; --device cpu says that none is wanted",
                file=sys.stderr,
            )

    def stop(self) -> None:
        with self._lock:
            asked = self._running.keys() - self._stopped
            self._stopped |= asked
        for reference in asked:  # one that waits is cancelled, one that runs gets a KeyboardInterrupt
            self._ray.cancel(reference, force=False)

    def close(self, cancel: bool = False) -> None:
        self._closing.set()
        with self._lock:
            references = list(self._running)
        if cancel:
            for reference in references:
                self._ray.cancel(reference, force=True)
        elif references:
            self._ray.wait(references, num_returns=len(references))
        self._ray.shutdown()

    def _outcome(self, answer: Future[Message]) -> Message:
        errors = self._ray.exceptions
        try:
            return answer.result()
        except errors.OutOfMemoryError:
            raise OutOfMemory("Ray killed its worker because the node had no memory left", -signal.SIGKILL) from None
        except errors.TaskCancelledError:
            raise WorkerDied("it was cancelled before it was started", None) from None
        except errors.NodeDiedError:
            raise MachineLost("its node was lost") from None
        except errors.WorkerCrashedError:
            raise MachineLost("Ray's worker process on its node was killed") from None
        except (errors.RaySystemError, errors.ObjectLostError, errors.RpcError) as reason:
            raise MachineLost(f"Ray lost it ({in_words(reason)})") from None
        except errors.RayTaskError as reason:  # not the job's own fault: that comes back as an answer
            raise EngineLost(f"a worker could not begin: {last_line(str(reason))}") from None

    def _lack(self) -> str:
        """That no node has what was asked for, and what they have."""
        assert self._shape is not None
        cpus, gpus, memory = self._shape
        have = "; ".join(_size(*(n.get(name, 0.0) for name in ("CPU", "GPU", "memory"))) for n in self._nodes)
        options = "--cpus-per-trial, --gpus-per-trial" + (", --memory" if memory else "")
        return (
            f"no node of the Ray cluster has {_size(cpus, gpus, memory or None)} for one trial ({options}); its nodes "
            f"have {have or 'nothing'}"
        )


def _size(cpus: float, gpus: float, memory: float | None) -> str:
    text = f"{cpus:g} CPUs and {gpus:g} GPUs"
    return text if memory is None else f"{cpus:g} CPUs, {gpus:g} GPUs and {memory / GIGABYTE:.1f} GB"


def _fit(resources: Mapping[str, float], shape: Shape) -> int:
    """How many jobs a node has room for."""
    rooms = [
        resources.get(name, 0.0) / size for name, size in zip(("CPU", "GPU", "memory"), shape, strict=True) if size
    ]
    return int(min(rooms) + 1e-9)


def _connect(address: str) -> Any:
    """Connect to a Ray cluster, or start one here; returns the module ``ray``, or raises UsageError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # of a cluster that is started here; 15 starves on a busy machine
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its way of the future, without its warning
    if address != "local":
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", TRIES)
    try:
        import ray
    except ImportError as reason:
        raise UsageError(f"--executor ray needs Ray: pip install 'ganbench[ray]' ({reason})") from None
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        dashboard: Any = False if address == "local" else None  # of a cluster that is there, it is not ours
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=dashboard)
    except (OSError, ValueError, RuntimeError) as reason:
        said = in_words(reason).partition(" Last connection error")[0]  # and a traceback
        raise UsageError(
            f"--address {address}: no Ray cluster can be joined there ({said}); start one with ray start --head, or "
            "let --address local start one on this machine for this run"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own there
    return ray


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at ``HOST:PORT``; Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


def _run(message: Message) -> Message:
    """On the node: Ray finds it by name, so that nothing of the driver is pickled but the message."""
    from ganbench.executors import remote

    return remote.run(message)
