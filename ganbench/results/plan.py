"""The trials that a sweep is about to run, in the hidden file ``.plan.json``, for who watches from outside.

It is there while a sweep runs, and stays where one was stopped; nothing but ``ganbench watch`` reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, to_builtins

from ganbench.utils import canonical_json
from ganbench.utils.files import make_folder, read_plain, write_atomic
from ganbench.utils.typed_json import Whole, convert

FILE = ".plan.json"
MOST_BYTES = 1 << 26


class PlanEntry(Struct, frozen=True, kw_only=True):
    """A trial: its ``folder`` below the results, and what is said of it while it has no record.

    Attributes:
        images: its budget. primary: metric that ranks go by.
        centres: true modes ``(k, 2)`` of points, where they are known.
    """

    folder: str
    title: str
    images: Whole
    primary: str
    centres: Annotated[list[Annotated[list[float], Meta(min_length=2, max_length=2)]], Meta(max_length=4096)] = []


def write_plan(root: Path, trials: Sequence[PlanEntry]) -> None:
    """Write the plan of a sweep into its results folder."""
    make_folder(root)
    write_atomic(root / FILE, canonical_json.dumps(to_builtins(list(trials))).encode())


def read_plan(root: Path) -> list[PlanEntry]:
    """The plan in a results folder; nothing where there is none, or none that can be read."""
    try:
        return list(convert(canonical_json.loads(read_plain(root / FILE, MOST_BYTES)), list[PlanEntry]))
    except (OSError, ValueError):
        return []
