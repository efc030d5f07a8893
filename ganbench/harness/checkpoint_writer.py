"""Writes checkpoints beside a training, and so seldom that they take at most 2 % of its time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ganbench.harness.serialization import Snapshot

# The least seconds between two checkpoints; 0: one after every step, which is waited for, whatever it takes.
CHECKPOINT_SECONDS = float(os.environ.get("GANBENCH_CHECKPOINT_SECONDS", "5"))
SHARE = 0.02  # of a training's time that checkpoints may take
FIRST = 1e8  # bytes a second that the first one is expected to take; later ones are expected to take what the last did

Snapshots = Sequence[tuple[Path, Snapshot]]


class CheckpointWriter:
    """Writes a training's checkpoints. Use as a context manager around the loop: its end waits for the last one.

    The loop only copies the state; a thread hashes the copies, makes the file, syncs and renames it. The thread may
    have no core of its own, so all the time from the copy to the rename counts as what a checkpoint takes. The next one
    begins no sooner than ``1 / SHARE`` times that after it began, and never while one is written.

    Args:
        seconds: between two at least; 0 writes after every step, without a thread.
        size: bytes of a checkpoint, about.
    """

    def __init__(self, seconds: float = CHECKPOINT_SECONDS, size: int = 0) -> None:
        self.seconds = seconds
        self._failed: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._next = time.monotonic() + self._interval(size / FIRST)

    def _interval(self, cost: float) -> float:
        return max(self.seconds, cost / SHARE) if self.seconds else 0.0

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def is_due(self) -> bool:
        """Whether it is time for the next one. Raises what writing the last one raised."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()
        return self._thread is None and time.monotonic() >= self._next

    def look_again(self) -> float:
        """When to ask ``is_due`` again (of ``time.monotonic``)."""
        now = time.monotonic()
        return min(self._next, now + self.seconds) if self._next > now else now + self.seconds

    def write(self, take: Callable[[], Snapshots]) -> None:
        """Begin to write a checkpoint; ``take`` copies the state, and tells where each copy goes."""
        self.wait()
        start = time.monotonic()
        snapshots = take()
        if not self.seconds:
            self._write(snapshots, start)
            self.wait()
            return
        self._thread = threading.Thread(target=self._write, args=(snapshots, start), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the last one is on the disk; raises what writing it raised, such as StoreError."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def _write(self, snapshots: Snapshots, start: float) -> None:
        try:
            for path, snapshot in snapshots:
                snapshot.save(path)
        except BaseException as reason:  # told by ``wait``, in the thread of the training
            self._failed = reason
        self._next = start + self._interval(time.monotonic() - start)
