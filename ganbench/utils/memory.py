"""Limits the memory of a job, and counts processes that the system killed for lack of it.

It reads Linux's /proc; other systems have no such limit.

What is measured is resident memory: the pages that a process holds in RAM, the libraries that it maps among them.
A watcher outside the process reads it, because a plugin that fills memory from C holds the interpreter's lock.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

GIGABYTE = 10**9
POLL_SECONDS = 0.02  # memory fills at some GB a second: what is held at the limit overshoots by a few per cent
FAMILY_SECONDS = 0.5  # finding the processes that a job started means reading the whole process table
_PROC = Path("/proc")
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def measurable() -> bool:
    """Whether this system says how much memory a process holds."""
    return (_PROC / "self" / "statm").exists()


def resident(pid: int) -> int:
    """Bytes that a process holds in RAM; 0 for one that has ended."""
    return _pages(pid, 1) * os.sysconf("SC_PAGE_SIZE")


def installed() -> int:
    """Bytes of memory that this machine has, or less where a container may use less."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(most, int(_CONTAINER.read_text()))
    except (OSError, ValueError):  # it is no container, or has no limit of its own: "max"
        return most


def limit_allocations(bytes_more: float) -> None:
    """Let this process map at most so much more writable memory than it has: a larger request fails at once.

    A request is refused where it is made, so the trial's reason names the line. RLIMIT_AS would not do: torch
    reserves several GB of addresses that it never touches. For a slow leak the watcher acts before this limit does.
    """
    most = int(_pages(os.getpid(), 5) * os.sysconf("SC_PAGE_SIZE") + bytes_more)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def system_kills() -> int:
    """How many processes the system has killed for lack of memory since it started; 0 where it does not say."""
    try:
        for line in (_PROC / "vmstat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        pass
    return 0


class Watch:
    """Tells when a job's process, together with those that it started, holds more than ``most`` bytes, and what is
    ``beside`` them: the context of a GPU.
    """

    def __init__(self, pid: int, most: float) -> None:
        self.pid, self.most, self.beside = pid, most, 0
        self._others: list[int] = []
        self._looked = time.monotonic()

    def exceeded(self) -> bool:
        if time.monotonic() - self._looked > FAMILY_SECONDS:
            self._others = sorted(family(self.pid))
            self._looked = time.monotonic()
        return sum(map(resident, (self.pid, *self._others))) > self.most + self.beside


def family(leader: int) -> set[int]:
    """All other processes of a leader's session, and all that descend from it or from them.

    A descendant that made a session of its own is found while the process that started it lives, and afterwards too
    where the leader adopts orphans (``signals.adopt_orphans``).
    """
    processes = _processes()
    found = {leader} | {pid for pid, (_, session) in processes.items() if session == leader}
    new = found
    while new:
        new = {pid for pid, (parent, _) in processes.items() if parent in new and pid not in found}
        found = found | new
    return found - {leader}


def children(parent: int) -> set[int]:
    """The processes whose parent is that one."""
    return {pid for pid, (other, _) in _processes().items() if other == parent}


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and session of every process."""
    found = {}
    for entry in os.listdir(_PROC) if _PROC.is_dir() else ():
        if entry.isdecimal():
            try:  # fields after the name, which may hold anything: state, parent, group, session
                fields = (_PROC / entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:  # it has ended
                continue
            found[int(entry)] = int(fields[1]), int(fields[3])
    return found


def _pages(pid: int, field: int) -> int:
    """One field of /proc/PID/statm: 1 is resident, 5 is writable memory."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[field])
    except (OSError, IndexError):
        return 0
