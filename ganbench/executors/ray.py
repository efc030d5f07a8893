"""Runs jobs on a Ray cluster: Ray places them and sees what is lost, everything else is ganbench's own.

Only Ray Core is used. Ray's retries are off: whether a job is tried again is decided above the seam.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from ganbench.errors import UsageError, in_words
from ganbench.executors import EngineLost, Job, MachineLost, OutOfMemory, WorkerDied, known_options
from ganbench.executors.remote import Message, incoming, outgoing

KNOCK_SECONDS = 10.0  # for the cluster's address to answer
SLOTS_SECONDS = 5.0  # for which the size of the cluster is remembered


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
        self._running: dict[Any, bool] = {}  # whether it was asked to stop
        self._shape: tuple[float, float] | None = None
        self._known, self._asked = 0, -SLOTS_SECONDS

    @property
    def slots(self) -> int | None:
        return self._most if self._shape is None else min(self._room(), self._most or self._room())

    @property
    def window(self) -> int:
        # What waits beside what runs is what a cluster that grows by demand goes by.
        return self._most or max(16, 2 * self._room())

    def _room(self) -> int:
        """For how many jobs of the kind that was last submitted the living nodes have room."""
        if self._shape is None:
            return 0
        if time.monotonic() - self._asked > SLOTS_SECONDS:
            self._known = sum(_fit(resources, *self._shape) for resources in self._nodes())
            self._asked = time.monotonic()
        return self._known

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        if self._shape != (job.cpus, job.gpus):
            self._shape, self._asked = (job.cpus, job.gpus), -SLOTS_SECONDS
            self._check_room(job)
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
            self._running[reference] = False

        def done(answer: Future[Message]) -> None:
            with self._lock:
                self._running.pop(reference, None)
            try:
                future.set_result(incoming(self._outcome(answer)))
            except BaseException as reason:
                future.set_exception(reason)

        reference.future().add_done_callback(done)
        return future

    def stop(self) -> None:
        with self._lock:
            asked = [reference for reference, stopped in self._running.items() if not stopped]
            self._running.update(dict.fromkeys(asked, True))
        for reference in asked:  # one that waits is cancelled, one that runs gets a KeyboardInterrupt
            self._ray.cancel(reference, force=False)

    def close(self, cancel: bool = False) -> None:
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

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _check_room(self, job: Job) -> None:
        """Raise UsageError where no node could ever take such a job: Ray would wait without an end."""
        nodes = self._nodes()
        if any(_fit(resources, job.cpus, job.gpus) for resources in nodes):
            return
        have = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise UsageError(
            f"no node of the Ray cluster has {job.cpus:g} CPUs and {job.gpus:g} GPUs for one trial (--cpus-per-trial, "
            f"--gpus-per-trial); its nodes have {have or 'nothing'}"
        )


def _fit(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many jobs a node has room for."""
    rooms = [resources.get(name, 0.0) / size for name, size in (("CPU", cpus), ("GPU", gpus)) if size]
    return int(min(rooms) + 1e-9)


def _connect(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # of a cluster that is started here; 15 starves on a busy machine
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its way of the future, without its warning
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
        raise UsageError(
            f"--address {address}: there is no Ray cluster to be reached ({in_words(reason)}); start one with "
            "ray start --head, or let --address local start one on this machine for this run"
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
