"""The function that engines call. It imports torch only where it runs."""

from __future__ import annotations

from typing import Any


def call(payload: dict[str, Any]) -> dict[str, Any]:
    """Run one job in this process."""
    from ganbench.jobs import run_job

    return run_job(payload)
