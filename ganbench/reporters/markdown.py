"""``leaderboard.md``: one table a dataset and protocol, for a README or a pull request."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ganbench.kinds import Reporter
from ganbench.reporters.layout import cells, sections
from ganbench.store import write_atomic


class MarkdownReporter(Reporter):
    name = "md"
    suffix = ".md"

    def write(self, leaderboard: pd.DataFrame, trials: pd.DataFrame, folder: Path) -> None:
        write_atomic(folder / "leaderboard.md", to_markdown(leaderboard).encode())


def to_markdown(leaderboard: pd.DataFrame) -> str:
    """Tables with medians and intervals over seeds; the last row of each is the floor."""
    parts = ["# Leaderboard\n"]
    for section in sections(leaderboard):
        headings, rows = cells(section)
        parts.append(f"## {section.dataset}\n")
        parts.append(f"Protocol `{section.protocol}`, extractor `{section.extractor}`.\n")
        lines = [headings, ["---"] * len(headings), *rows]
        parts.append("\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines) + "\n")
    return "\n".join(parts)


def _escape(cell: str) -> str:
    return cell.translate({ord("|"): "\\|", ord("<"): "&lt;", ord("\n"): " "})


reporter = MarkdownReporter()
