"""How a failed trial ends: its status, and the reason in one line that is the same on every machine."""

from __future__ import annotations

import contextlib
import platform
import re
import traceback
from typing import Any

from ganbench.harness.build import Changed
from ganbench.harness.device_errors import device_fault, is_out_of_device_memory, is_out_of_memory
from ganbench.harness.metric_values import InvalidOutput
from ganbench.harness.telemetry import Diverged
from ganbench.harness.training import Training
from ganbench.utils.errors import UsageError, in_words, location
from ganbench.utils.files import StoreError
from ganbench.utils.memory import GIGABYTE


def explain(reason: BaseException) -> str:
    """One line: what was raised, and the last line of code outside ganbench and torch that it came through."""
    message = in_words(reason)
    if is_out_of_memory(reason):  # what follows the first sentence (free bytes, process ids) differs from run to run
        message = re.sub(r"\[enforce fail at .*?DefaultCPUAllocator: ", "", message).partition(". ")[0]
    # Torch's advice:
    message = re.sub(r" (Search for `\w+' in |CUDA kernel errors might be asynchronous).*", "", message)
    if isinstance(reason, InvalidOutput):  # it names the fault; where the harness saw it is no help
        return message
    return f"{message}{location(reason)}"


def failure(reason: BaseException, training: Training | None, payload: dict[str, Any]) -> dict[str, Any]:
    """How a trial ended that raised: status and reason. What is not the trial's own fault is raised again."""
    if (other := device_fault(reason)) is not None:  # the machine's, or nobody knows yet
        raise other from reason
    if isinstance(reason, StoreError):  # the disk's fault: no record, so that the same command goes on later
        raise reason
    if isinstance(reason, Diverged):
        return _diverged(reason)
    if isinstance(reason, KeyboardInterrupt) and not payload["isolated"]:
        raise reason
    if isinstance(reason, Changed) and "from" in payload:  # another machine's fault, not the plugin's
        where = f"on the worker {platform.node()}; the sweep was started on {payload['from']}"
        raise UsageError(f"{reason} ({where}): install the same code and data on both") from None
    with contextlib.suppress(Exception):  # a plugin may have closed standard error, a trial's log
        traceback.print_exception(reason)
    outcome = {"status": "error", "reason": explain(reason), "first_nonfinite": None}
    if is_out_of_memory(reason):
        limit = None if is_out_of_device_memory(reason) else payload.get("memory")
        about = "" if limit is None else f"; its limit is --memory {limit / GIGABYTE:g}"
        return {**outcome, "status": "oom", "reason": f"{outcome['reason']}{about}"}
    if training is not None:
        try:
            training.telemetry.gather()
        except Diverged as first:  # what it raised came of a value that was no longer finite
            return _diverged(first)
        except Exception:  # a broken CUDA context cannot be read
            traceback.print_exc()
    return outcome


def _diverged(reason: Diverged) -> dict[str, Any]:
    first = {"step": reason.step, "what": reason.what}
    return {"status": "diverged", "reason": str(reason), "first_nonfinite": first}
