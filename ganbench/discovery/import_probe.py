"""Finding plugins that would end the process that imports them, in another process that may die of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from ganbench.discovery.entry_points import GROUP, Point
from ganbench.discovery.hooks import ask

SECONDS = 120.0  # for importing whatever is installed, and torch with it
# The interpreter finds what this one finds, whatever was done to sys.path since it started.
_PROGRAM = (
    "import json, sys; order = json.load(sys.stdin); sys.path[:] = order['path']; "
    "from ganbench.discovery.import_probe import load_each; load_each(order['points'])"
)


def find_lethal(points: Sequence[Point]) -> dict[int, str]:
    """What happened to a fresh interpreter, by position in ``points``, for each plugin that it did not survive.

    What this process has imported already is not tried.
    """
    found: dict[int, str] = {}
    waiting = [i for i, point in enumerate(points) if point.module not in sys.modules]
    while waiting:
        survived, how = _try([points[i] for i in waiting])
        if how is None:
            break
        found[waiting[survived]] = how
        waiting = waiting[survived + 1 :]
    return found


def _try(points: list[Point]) -> tuple[int, str | None]:
    """How many plugins an interpreter loaded before it ended, and how it ended; None if it loaded them all."""
    order = {"path": sys.path, "points": [_as_json(point) for point in points]}
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as told:
        asked.write(json.dumps(order).encode())
        asked.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=asked,
            stdout=told,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # what it started ends with it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        survived = told.seek(0, os.SEEK_END)  # one byte a plugin
    return survived, None if survived == len(points) else _in_words(code)


def _as_json(point: Point) -> dict[str, Any]:
    entry = None if point.entry is None else [point.entry.name, point.entry.value, point.entry.group]
    return {"name": point.name, "value": point.value, "module": point.module, "entry": entry, "path": str(point.path)}


def load_each(described: list[dict[str, Any]]) -> None:
    """In the fresh interpreter: load one plugin after the other, write a byte after each, and end.

    What raises here raises in the process that asked too, which says so.
    """
    told = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nowhere, descriptor)
    for one in described:
        entry = None if one["entry"] is None else EntryPoint(*one["entry"])
        point = Point(one["name"], one["value"], one["module"], "", entry=entry, path=Path(one["path"]))
        with contextlib.suppress(BaseException):
            module = point.load()
            if entry is None or entry.group == GROUP:
                ask(module, point.name)
        os.write(told, b".")
    os._exit(0)


def _in_words(code: int | None) -> str:
    if code is None:
        return f"did not end within {SECONDS:g} s"
    if code >= 0:
        return f"ended the process with exit code {code}"
    try:
        return f"killed the process with {signal.Signals(-code).name}"
    except ValueError:
        return f"killed the process with signal {-code}"
