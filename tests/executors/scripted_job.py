"""A job that runs code as a plugin's is run: ``serve`` stands for ``local._serve``, in the job's own process."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from ganbench.executors import jobs, local

_serve = local._serve


def serve(sender: Connection, payload: dict[str, Any]) -> None:
    def run_job(payload: dict[str, Any]) -> dict[str, Any]:
        with open(payload["mark"], "a") as file:
            file.write(f"{os.getpid()}\n")

        def pipes() -> list[int]:
            return [sender.fileno()]

        exec(payload["code"], {"os": os, "time": time, "signal": signal, "MARK": payload["mark"], "pipes": pipes})
        return {"done": True}

    jobs.run_job = run_job
    jobs.context_bytes = lambda payload: payload.get("context", 0)
    _serve(sender, payload)
