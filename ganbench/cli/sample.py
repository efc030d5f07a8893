"""``ganbench sample``: draw from a trial's stored state into a file, in a process of its own."""

from __future__ import annotations

import base64
from pathlib import Path

from ganbench.executors import LOST, Job, on_this_machine
from ganbench.reporters.terminal import say
from ganbench.results.store import locate
from ganbench.utils.errors import UsageError
from ganbench.utils.files import write_atomic

SUFFIXES = (".png", ".npy")


def sample(text: str, results: Path, n: int, seed: int | None, out: Path, device: str | None, executor: str) -> int:
    """Write ``n`` samples of the trial that ``text`` names to ``out``; return the exit code.

    Raises:
        UsageError: there is no such trial, it left no state, or its variant draws no samples.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: give it the ending .png for a grid of images, or .npy for an array")
    folder = locate(text, results)
    payload = {"kind": "sample", "folder": str(folder.absolute()), "n": n, "seed": seed, "suffix": suffix}
    with on_this_machine(executor, 1) as engine:
        try:
            result = engine.submit(Job({**payload, "device": device, "threads": 1})).result()
        except LOST as reason:
            raise UsageError(f"{folder}: its variant draws no samples: {reason}") from None
    if "failed" in result:
        raise UsageError(f"{folder}: {result['failed']}")
    write_atomic(out, base64.b64decode(result["content"]))
    say(f"{n} samples of {folder.name}, {tuple(result['shape'])}: {out}")
    return 0
