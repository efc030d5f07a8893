"""``leaderboard.md``: one table a dataset and protocol, for a README or a pull request."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ganbench.kinds import Reporter
from ganbench.reporters.layout import LEGEND, cells, conditions, sections
from ganbench.store import write_atomic

# What Markdown would take for markup or for the end of a cell. An underscore inside a word is neither,
# and brackets without a target make no link.
_ESCAPES = {ord(mark): f"\\{mark}" for mark in "\\`*|~"}
_ESCAPES |= {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"} | dict.fromkeys((*range(32), *range(127, 160)), " ")


class MarkdownReporter(Reporter):
    name = "md"
    suffix = ".md"

    def write(self, leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> None:
        write_atomic(folder / "leaderboard.md", to_markdown(leaderboard).encode())


def to_markdown(leaderboard: pd.DataFrame) -> str:
    """Tables with medians and intervals over seeds; the last row of each is the floor."""
    parts = [f"# Leaderboard\n\n{LEGEND}\n"]
    for section in sections(leaderboard):
        headings, rows = cells(section)
        parts.append(f"## {_escape(section.dataset)}\n\n{_escape(conditions(section))}\n")
        lines = [[_escape(cell) for cell in line] for line in (headings, *rows)]
        lines.insert(1, ["---"] * len(headings))
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")
    return "\n".join(parts)


def _escape(text: str) -> str:
    return text.translate(_ESCAPES).replace("](", "]\\(")


reporter = MarkdownReporter()
