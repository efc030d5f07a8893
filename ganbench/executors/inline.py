"""The ``inline`` engine runs each job in this process, at once: for debuggers. Plugins share the process here."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from ganbench.executors import Job, known_options


class InlineExecutor:
    """``jobs`` is ignored (one at a time) and neither deadlines nor memory limits are kept."""

    isolated = False
    remote = False
    slots = window = 1

    def __init__(self, jobs: int | None, threads: int, options: Mapping[str, str]) -> None:
        known_options("inline", options, {})

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        from ganbench.executors.jobs import run_job  # which imports torch

        future: Future[dict[str, Any]] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(run_job({**job.payload, "isolated": False}))
        except BaseException as reason:
            future.set_exception(reason)
            if isinstance(reason, KeyboardInterrupt):
                raise
        return future

    def stop(self) -> None:
        """Does nothing: jobs run in the caller, which has been told already."""

    def close(self, cancel: bool = False) -> None:
        pass
