"""Failpoints: places where tests of crash safety make a write fail, or kill the process.

Every step that changes a results folder passes one. Its name is the operation and the file: ``rename.record.json``.
``GANBENCH_FAILPOINT=NAME:N:ACTION`` makes the N-th passage of NAME (a pattern: ``rename.*``, ``*``) end the process
(``kill``) or fail (``EIO``, ``ENOSPC``). Each process counts its own passages; with ``GANBENCH_FAILPOINT_LOG=FILE``
the driver and its workers count together, and FILE holds a line for each.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ganbench.utils.errors import UsageError

VARIABLE, LOG = "GANBENCH_FAILPOINT", "GANBENCH_FAILPOINT_LOG"
ACTIONS = ("kill", "EIO", "ENOSPC")


@dataclass
class Failpoint:
    """What to do at the ``nth`` passage of a name; ``nth`` is 0 where passages are only written to ``log``."""

    pattern: str
    nth: int
    action: str
    log: Path | None
    passed: int = 0

    def reach(self, name: str, path: Path) -> None:
        passed = self._count(name)
        if passed != self.nth:
            return
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self.action)
        raise OSError(number, os.strerror(number), str(path))

    def _count(self, name: str) -> int:
        """Which passage of the pattern this is; 0 where the name is another."""
        matches = fnmatchcase(name, self.pattern)
        if self.log is None:
            self.passed += matches
            return self.passed if matches else 0
        import fcntl

        with open(self.log, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # a kill lets go of it
            file.seek(0)
            earlier = sum(fnmatchcase(line.rstrip("\n"), self.pattern) for line in file)
            file.write(f"{name}\n")
        return earlier + 1 if matches else 0


_armed: Failpoint | None = None


def arm(environment: Mapping[str, str] = os.environ) -> None:
    """Read the two variables; raises UsageError for a value that names no failpoint."""
    global _armed
    text, log = environment.get(VARIABLE), environment.get(LOG)
    if not text:
        _armed = Failpoint("*", 0, "kill", Path(log)) if log else None
        return
    pattern, _, rest = text.partition(":")
    nth, _, action = rest.partition(":")
    if not (pattern and nth.isascii() and nth.isdecimal() and int(nth) and action in ACTIONS):
        raise UsageError(
            f"{VARIABLE}={text}: expected NAME:N:ACTION with N from 1 on and ACTION one of {', '.join(ACTIONS)}, "
            "such as rename.record.json:1:kill"
        )
    _armed = Failpoint(pattern, int(nth), action, Path(log) if log else None)


def reach(operation: str, path: Path) -> None:
    """Pass the failpoint ``<operation>.<file name>``; raises OSError where that was asked for."""
    if _armed is not None:
        _armed.reach(f"{operation}.{path.name}", path)
