"""Small jobs that plugins answer before a sweep begins, and a message for the user where one cannot."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from ganbench.executors import LOST, Executor, Job, MachineLost
from ganbench.utils.errors import UsageError


def ask(
    executor: Executor,
    payloads: list[dict[str, Any]],
    deadline: float | None = None,
    memory: float | None = None,
    cpus: float = 1,
    gpus: float = 0,
) -> list[dict[str, Any]]:
    """Run small jobs and return their results in order; raises UsageError, with the reason, if one fails.

    The limits are a variant's, whose code must not hang or fill the machine before its trials begin. Cores and GPUs are
    those of the trials: what is described is where they will run.
    """

    def submit(payload: dict[str, Any]) -> Future[dict[str, Any]]:
        limited = payload["kind"] == "variant"
        limits = (deadline, memory) if limited else (None, None)
        return executor.submit(Job(payload, cpus, gpus, *limits))

    results = []
    for payload, future in [(payload, submit(payload)) for payload in payloads]:
        what = f"{payload['kind']} {payload.get('variant') or payload.get('dataset')}"
        try:
            try:
                result = future.result()
            except MachineLost:  # by no doing of the plugin's
                result = submit(payload).result()
            except LOST:
                if not payload.get("build"):
                    raise
                # If it was building the variant that ended the process, its trials will record it.
                result = submit({**payload, "build": False}).result()
        except LOST as reason:
            lost = f"{what} cannot be used: {reason} while it was being asked about itself"
            raise UsageError(f"{lost}{_lethal(executor)}") from None
        if "failed" in result:
            if result["usage"]:
                raise UsageError(result["failed"])
            hint = "; --executor inline shows the traceback" if executor.isolated else ""
            raise UsageError(f"{what} cannot be used: {result['failed']}{hint}")
        results.append(result)
    return results


def _lethal(executor: Executor) -> str:
    """The installed plugins that end whatever imports them, for a message."""
    try:
        broken = executor.submit(Job({"kind": "broken", "threads": 1, "device": "cpu"})).result()["broken"]
    except (*LOST, KeyError):
        return ""
    found = [f"{bad['entry']} ({bad['distribution']}): {bad['reason']}" for bad in broken]
    return f". These plugins cannot be imported: {'; '.join(found)}" if found else ""
