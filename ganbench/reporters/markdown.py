"""``leaderboard.md``: one table a dataset and protocol, for a README or a pull request."""

from __future__ import annotations

from pathlib import Path

from ganbench.plugin.interfaces import Reporter
from ganbench.plugin.report import Report
from ganbench.reporters.sections import LEGEND, PAIRS, cells, sections
from ganbench.reporters.sentences import across_datasets, failed_trials, sentences, unstable_trainings
from ganbench.utils.files import write_atomic

# What Markdown would take for markup or for the end of a cell. An underscore inside a word is neither,
# and brackets without a target make no link.
_ESCAPES = {ord(mark): f"\\{mark}" for mark in "\\`*|~"}
_ESCAPES |= {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"} | dict.fromkeys((*range(32), *range(127, 160)), " ")


class MarkdownReporter(Reporter):
    name = "md"
    suffix = ".md"

    def write_report(self, report: Report, folder: Path) -> None:
        write_atomic(folder / "leaderboard.md", to_markdown(report).encode())


def to_markdown(report: Report) -> str:
    """Tables with medians and intervals over seeds, the last row of each the floor.

    Below each, failed trials, unstable trainings, and what the statistics say.
    """
    parts = [f"# Leaderboard\n\n{LEGEND} {PAIRS}\n"]
    for section in sections(report):
        parts.append(f"## {_escape(section.dataset)}\n\n{_escape(section.conditions)}\n")
        parts += [f"**Warning:** {_escape(text)}.\n" for text in section.warnings]
        parts.append(to_table(*cells(section)))
        if failed := failed_trials(section):
            parts += ["### Failed trials\n", _list(failed)]
        if unstable := unstable_trainings(section):
            parts.append("### Unstable trainings\n")
        for word, meaning, entries in unstable:
            parts += [f"**{word}**: {_escape(meaning)}.\n", _list(entries)]
        parts.append(_list(sentences(section)))
    if together := across_datasets(report):
        parts.append("## Across datasets\n")
        parts += [to_table(together.headings, together.rows)] if together.rows else []
        parts.append(_list(together.notes))
    return "\n".join(part for part in parts if part)


def _list(items: list[str]) -> str:
    return "".join(f"- {_escape(item)}\n" for item in items)


def to_table(headings: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; no cell can end it or be markup."""
    lines = [[_escape(cell) for cell in line] for line in (headings, *rows)]
    lines.insert(1, ["---"] * len(headings))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _escape(text: str) -> str:
    return text.translate(_ESCAPES).replace("](", "]\\(")


reporter = MarkdownReporter()
