"""Runs each job in a fresh process on this machine: Pebble on a forkserver that has torch loaded.

A process costs hundredths of a second instead of the seconds that importing torch takes, and a killed
one costs its own job, not the pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import Future
from typing import Any

from pebble import ProcessExpired, ProcessPool

from ganbench.executors import DeadlineExceeded, Job, WorkerDied
from ganbench.executors.worker import call

# What nearly every trial imports, the compiler that torch's optimizers load at their first use among it.
PRELOAD = ("ganbench.jobs", "ganbench.metrics.kernel", "ganbench.metrics.manifold", "sklearn.datasets", "torch._dynamo")


class LocalExecutor:
    """``jobs`` processes at a time, ``threads`` threads each."""

    isolated = True

    def __init__(self, jobs: int, threads: int) -> None:
        # Libraries read these when they are loaded, so they are set before the forkserver starts. Passive
        # waiting: a spinning thread without a core of its own makes small networks many times slower.
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ["PYTHONHASHSEED"] = "0"  # a plugin may go through a set of names
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOAD))
        self._pool = ProcessPool(max_workers=jobs, max_tasks=1, context=context)

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        outer: Future[dict[str, Any]] = Future()
        inner = self._pool.schedule(call, args=[{**job.payload, "isolated": True}], timeout=job.deadline)

        def done(finished: Future[dict[str, Any]]) -> None:
            if finished.cancelled():
                outer.cancel()
                return
            reason = finished.exception()
            if reason is None:
                outer.set_result(finished.result())
            elif isinstance(reason, ProcessExpired):
                outer.set_exception(WorkerDied(_how(reason.exitcode), reason.exitcode))
            elif isinstance(reason, TimeoutError):
                outer.set_exception(DeadlineExceeded(f"it ran longer than {job.deadline:g} s"))
            else:
                outer.set_exception(reason)

        inner.add_done_callback(done)
        return outer

    def close(self, cancel: bool = False) -> None:
        if cancel:
            self._pool.stop()
        else:
            self._pool.close()
        self._pool.join()


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"its process was killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"its process was killed by signal {-exit_code}"
    return f"its process ended by itself with exit code {exit_code}"
