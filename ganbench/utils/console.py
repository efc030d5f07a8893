"""Printing text for people: a line that wraps on a terminal, and columns that keep their width anywhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from ganbench.utils.errors import printable


def say(text: str, file: TextIO | None = None) -> None:
    """Print one line, on a terminal wrapped between words."""
    file = file or sys.stdout
    text = printable(text)
    if file.isatty():
        from rich.console import Console
        from rich.markup import escape

        Console(file=file).print(escape(text), highlight=False)
    else:
        print(text, file=file)


def first_few(texts: Sequence[str], most: int = 3, comma: str = ", ") -> str:
    """The first of several texts, and how many more there are: ``a, b, c, and 7 more``."""
    more = [f"and {len(texts) - most:,} more"] if len(texts) > most else []
    return comma.join([*texts[:most], *more])


def plain(lines: list[list[str]]) -> str:
    """Columns padded with spaces, nothing wrapped or shortened."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)
