"""The function that engines call. It imports torch only where it runs."""

from __future__ import annotations

from typing import Any


def call(payload: dict[str, Any]) -> dict[str, Any]:
    """Run one job in this process."""
    from ganbench.executors.jobs import run_job
    from ganbench.utils.files import StoreError

    try:
        return run_job(payload)
    except StoreError as reason:  # its log cannot be written
        return {"unwritable": str(reason)}
