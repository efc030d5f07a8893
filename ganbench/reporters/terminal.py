"""The tables on the terminal, and what is said about them: the end of ``ganbench run``, and ``ganbench report``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganbench.plugin.report import Report
from ganbench.reporters.sections import LEGEND, PAIRS, Section, cells, sections
from ganbench.reporters.sentences import across_datasets, sentences, unstable_trainings
from ganbench.results.store import Contents
from ganbench.utils.console import plain, say
from ganbench.utils.errors import printable

TABLES = ("leaderboard.html", "leaderboard.md", "leaderboard.csv", "trials.csv")  # of the formats that are the default
NAMED = 5  # trials with the same verdict that the terminal names
FIXED = 6  # the last of the columns that every terminal gets: rank, tier, variant, a score, verdict, seeds, failed


def show(report: Report) -> None:
    """Print every section: a drawn table on a terminal, plain aligned text elsewhere, one line a row.

    Below it, the unstable trainings, a few of each kind.
    """
    for section in sections(report):
        if sys.stdout.isatty():
            draw(section, Console())
        else:
            headings, rows = cells(section)
            print(printable(f"{section.dataset}. {section.conditions}"))
            for text in section.warnings:
                print(printable(f"warning: {text}"))
            print(plain([headings, *rows]))
        if unstable := unstable_trainings(section):
            say("Unstable trainings")
        for word, meaning, lines in unstable:
            say(f"{word}: {meaning}.")
            for line in lines[:NAMED]:
                say(f"  {line}")
            if len(lines) > NAMED:
                say(f"  and {len(lines) - NAMED} more; trials.csv and leaderboard.md have them all")
        _tell(sentences(section))
    if together := across_datasets(report):
        say("Across datasets")
        if together.rows:
            print(plain([together.headings, *together.rows]))
        _tell(together.notes)


def _tell(texts: list[str]) -> None:
    for sentence in texts:
        say(f"  {sentence}")
    print()


def draw(section: Section, console: Console) -> None:
    """A table with as many metrics as fit the terminal, and the names of the others."""
    headings, rows = cells(section)
    extractor = f"({printable(section.extractor)})"
    headings = [printable(heading).replace(f" {extractor}", f"\n{extractor}") for heading in headings]
    rows = [[printable(cell) for cell in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    room = console.width
    hidden: list[str] = []
    for i, column in enumerate(zip(headings, *rows, strict=True)):
        width = max(len(line) for cell in column for line in cell.split("\n")) + 2
        words = column[0] in ("Variant", "Verdict")
        # Long words are wrapped; what comes after the fixed columns is left out where it would not fit.
        room -= min(width, 22) if words else width
        if i > FIXED and not section.report.columns and (hidden or room < 0):
            hidden.append(column[0].partition("\n")[0])
            continue
        table.add_column(
            escape(column[0]), justify="left" if words else "right", no_wrap=not words, overflow="fold", vertical="top"
        )
    shown = len(table.columns)
    for row in rows:
        unranked = "dim" if not row[0] else None
        table.add_row(*map(escape, row[:shown]), style="italic" if row is rows[-1] else unranked)
    console.print(escape(printable(section.dataset)), style="bold", highlight=False)
    console.print(escape(printable(section.conditions)), style="dim", highlight=False)
    for text in section.warnings:
        console.print(escape(printable(f"warning: {text}")), style="yellow", highlight=False)
    console.print(table)
    if hidden:
        text = f"Not shown for lack of width: {', '.join(hidden)}; they are in leaderboard.html and .csv."
        console.print(escape(printable(text)), style="dim", highlight=False)


def summarise(contents: Contents, folder: Path, files: Sequence[str] = TABLES) -> None:
    """Say what the tables mean, what they leave out, and where they stand: the ``files`` that were written."""
    failed = [record for record in contents.records if record.status != "completed"]
    if contents.records:
        say(f"{LEGEND} {PAIRS}")
    for record in failed:
        say(f"{record.title}: {record.status}: {record.reason}", sys.stderr)
    if contents.interrupted:
        say(f"{contents.interrupted} interrupted trials have no row; the same ganbench run continues them", sys.stderr)
    if contents.superseded:
        say(f"{contents.superseded} records of earlier code are in {folder / 'superseded'}", sys.stderr)
    for problem in contents.problems:
        say(f"left out: {problem.path}: {problem.reason}{problem.remedy}", sys.stderr)
    if contents.problems and not contents.records:
        say(f"no record can be read, so no table was written: those in {folder} are of earlier records", sys.stderr)
    if contents.records:
        say(f"Tables: {', '.join(str(folder / name) for name in files)}; a folder a trial beside them.")
