"""A job in a process of its own on a pretended machine with three GPUs: ``serve`` stands for ``local._serve``."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

from ganbench.executors import local

_serve = local._serve


def serve(jobs: str, sender: Connection, payload: dict[str, Any]) -> None:
    """Note the job in the file ``jobs``, and do it."""
    from ganbench.conformance.pretended_device import pretended

    with open(jobs, "a") as file:
        file.write(
            f"{payload['kind']} {payload.get('device')} {payload.get('fraction')} {payload.get('alone', False)}\n"
        )
    with pretended("cuda", 3):
        _serve(sender, payload)
