"""Which job has which GPU of this machine: a job leases one as it starts, so that none idles while jobs wait.

Bound to GPUs beforehand, jobs of unlike lengths would leave some idle at the end. On a cluster Ray or SLURM does this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lease:
    """A job's right to a device. ``alone``: no other job has it at the same time."""

    device: str
    alone: bool


class Leases:
    """The devices of one command, and who has them.

    Args:
        devices: such as ``cuda:0`` and ``cuda:1``.
        each: jobs that may share a device.
        most: jobs at a time on all devices together; None for as many as they have room for.

    Attributes:
        aside: the devices that cannot be used any more, and why.
    """

    def __init__(self, devices: Sequence[str], each: int = 1, most: int | None = None) -> None:
        self.each, self.most = each, math.inf if most is None else most
        self.aside: dict[str, str] = {}
        self._held: dict[str, list[Lease]] = {device: [] for device in devices}

    @property
    def devices(self) -> list[str]:
        """Those that can be used."""
        return [device for device in self._held if device not in self.aside]

    @property
    def room(self) -> int:
        """How many jobs can run at a time."""
        return int(min(self.most, self.each * len(self.devices)))

    @property
    def spread(self) -> int:
        """How many devices are in use when jobs are spread evenly over them."""
        return int(min(self.most, len(self.devices)))

    def __str__(self) -> str:
        names = self.devices
        each = "one trial" if self.each == 1 else f"{self.each} trials"
        if self.room == 1:
            return f"{names[0]}, one trial at a time"
        if len(names) == 1:
            return f"{names[0]}, {each} at a time"
        listed = f"{names[0]} to {names[-1]}" if len(names) > 2 and not self.aside else ", ".join(names)
        return f"{len(names)} GPUs ({listed}), {each} each"

    def lease(self, alone: bool = False, elsewhere: str | None = None) -> Lease | None:
        """The device with the fewest jobs; None where a job must wait.

        Args:
            alone: only one without other jobs, which gets none until this job has ended.
            elsewhere: a device that is not given while there are others.
        """
        if sum(map(len, self._held.values())) >= self.most:
            return None
        able = [device for device in self.devices if device != elsewhere] or self.devices
        most = 1 if alone else self.each
        free = [d for d in able if len(self._held[d]) < most and not any(lease.alone for lease in self._held[d])]
        if not free:
            return None
        lease = Lease(min(free, key=lambda device: len(self._held[device])), alone)
        self._held[lease.device].append(lease)
        return lease

    def give_back(self, lease: Lease) -> None:
        self._held[lease.device].remove(lease)

    def put_aside(self, device: str, why: str) -> None:
        """Lease a device no more. Jobs that have it already may keep it."""
        self.aside[device] = why
