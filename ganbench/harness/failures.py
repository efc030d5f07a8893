"""Why a trial failed, in one line that is the same on every machine."""

from __future__ import annotations

import re

import torch

from ganbench.harness.metric_values import InvalidOutput
from ganbench.utils.errors import in_words, location


def is_out_of_memory(reason: BaseException) -> bool:
    """Whether an exception says that memory ran out; torch's CPU allocator raises a plain RuntimeError."""
    return isinstance(reason, MemoryError | torch.OutOfMemoryError) or (
        isinstance(reason, RuntimeError) and "can't allocate memory" in str(reason)
    )


def explain(reason: BaseException) -> str:
    """One line: what was raised, and the last line of code outside ganbench and torch that it came through."""
    message = in_words(reason)
    if is_out_of_memory(reason):  # what follows the first sentence (free bytes, process ids) differs from run to run
        message = re.sub(r"\[enforce fail at .*?DefaultCPUAllocator: ", "", message).partition(". ")[0]
    if isinstance(reason, InvalidOutput):  # it names the fault; where the harness saw it is no help
        return message
    return f"{message}{location(reason)}"
