"""``progress.jsonl``: what a running trial says of its progress, a JSON object a line, and who reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ganbench.results.schema import ProgressLine
from ganbench.utils import canonical_json
from ganbench.utils.files import open_plain
from ganbench.utils.typed_json import convert

FILE = "progress.jsonl"
MOST_LINE = 1 << 20  # bytes of a line; a longer one, and what follows it, is not read


@dataclass
class ProgressReader:
    """Reads what has been written since it was last asked.

    Attributes:
        offset: bytes read so far.
        changed: when the file last grew, as of the last reading, in seconds since 1970; 0 where there is none.
    """

    path: Path
    offset: int = 0
    changed: float = 0.0

    def new_lines(self) -> Iterator[ProgressLine]:
        """Whole lines that are new. Others are passed over: a kill leaves half a line, a plugin may write anything."""
        with contextlib.suppress(OSError), open_plain(self.path) as file:
            self.changed = self.path.stat().st_mtime
            file.seek(self.offset)
            while (line := file.readline(MOST_LINE)).endswith(b"\n"):
                self.offset += len(line)
                try:
                    entry = convert(canonical_json.loads(line), ProgressLine)
                except ValueError:
                    continue
                yield entry
