"""Trials that are running: the jobs they were submitted as, and what they say of their progress."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganbench.results.schema import PROGRESS
from ganbench.runner.planning import Planned
from ganbench.utils import canonical_json
from ganbench.utils.files import open_plain

MOST_LINE = 1 << 20  # bytes of a line of progress; a longer one, and what follows it, is not shown


@dataclass
class Reading:
    """A trial that runs, and how much of its progress was read."""

    trial: Planned
    offset: int = 0
    evaluated: int = -1

    def more(self, folder: Path) -> Iterator[dict[str, Any]]:
        """The lines of progress that the trial has written into its folder since they were last read."""
        with contextlib.suppress(OSError), open_plain(folder / "progress.jsonl") as file:
            file.seek(self.offset)
            while (line := file.readline(MOST_LINE)).endswith(b"\n"):
                self.offset += len(line)
                try:
                    entry = canonical_json.loads(line)
                    PROGRESS(entry)
                except ValueError:  # a plugin may have tampered with the file; it is no more than a display
                    continue
                yield entry


@dataclass
class Running:
    """Trials that one job runs, when their progress was read, and the images each saw, also at the job's last loss."""

    readings: list[Reading]
    attempt: int
    looked: float = -math.inf
    images: int = 0
    died_at: int | None = None

    @property
    def trials(self) -> list[Planned]:
        return [reading.trial for reading in self.readings]

    @property
    def title(self) -> str:
        first, *others = self.trials
        if not others:
            return first.title
        return f"{first.label} on {first.spec.dataset}, seeds {', '.join(str(t.spec.seed) for t in self.trials)}"
