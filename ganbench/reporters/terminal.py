"""What a person sees: progress on standard error while a sweep runs, tables on standard output afterwards."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from ganbench.reporters.layout import LEGEND, PAIRS, Section, cells, conditions, label, number, sections, warnings
from ganbench.reporters.remarks import judged, overview, remarks
from ganbench.results.rescored import FILE
from ganbench.results.store import Contents
from ganbench.runner.planning import Planned
from ganbench.utils.errors import printable

NAMED = 5  # trials with the same verdict that the terminal names
FIXED = 6  # the last of the columns that every terminal gets: rank, tier, variant, a score, verdict, seeds, failed


class PlainDisplay:
    """One line a finished trial, for pipes and logs."""

    def note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def begin(self, trials: list[Planned], kept: int) -> None:
        self.total, self.done = len(trials), 0
        self.note(f"{len(trials)} trials to run, {kept} finished earlier")

    def progress(self, trial: Planned, images: int, evaluation: dict[str, Any] | None) -> None:
        """Nothing: a log wants what is final."""

    def finished(self, trial: Planned, record: dict[str, Any], cost: dict[str, Any]) -> None:
        self.done += 1
        self.note(f"[{self.done}/{self.total}] {describe(trial, record, cost)}")

    def close(self) -> None:
        """Nothing is drawn, so nothing has to be put away."""


class Rest(ProgressColumn):
    """What the other columns leave of the line is for a task's text, which is cut there."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["text"], no_wrap=True, overflow="ellipsis")


class LiveDisplay(PlainDisplay):
    """Bars for the sweep and each running trial: time left, latest score, images a second.

    Args:
        console: where they are drawn; standard error if None.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        bar = 12 if console.width >= 100 else 6
        self.bars = Progress(
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=console.width * 2 // 5)
            ),
            BarColumn(bar_width=bar, table_column=Column(no_wrap=True, min_width=bar)),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            Rest(),
            console=console,
            transient=True,
        )
        self.running: dict[str, tuple[TaskID, float, int]] = {}
        self.seen: dict[str, int] = {}
        self.scores: dict[str, str] = {}

    def note(self, text: str) -> None:
        self.bars.console.print(escape(printable(text)), highlight=False)

    def begin(self, trials: list[Planned], kept: int) -> None:
        self.total, self.done = len(trials), 0
        if kept:
            self.note(f"{kept} trials finished earlier are kept")
        if trials:
            images = sum(trial.spec.protocol.budget_images for trial in trials)
            self.sweep = self.bars.add_task(f"0/{self.total} trials", total=images, text="")
            self.bars.start()

    def progress(self, trial: Planned, images: int, evaluation: dict[str, Any] | None) -> None:
        key, budget = trial.title, trial.spec.protocol.budget_images
        if key not in self.running:
            task = self.bars.add_task(f"  {printable(key)}", total=budget, text="", completed=images)
            self.running[key] = (task, time.monotonic(), images)
            self.bars.advance(self.sweep, images)
            self.seen[key] = images
        task, start, first = self.running[key]
        self.bars.advance(self.sweep, max(0, images - self.seen[key]))
        self.seen[key] = max(images, self.seen[key])
        if score := number((evaluation or {}).get("values", {}).get(trial.primary)):
            self.scores[key] = f"{metric_label(trial)} {score}"
        parts = [self.scores[key]] if key in self.scores else []
        seconds = time.monotonic() - start
        # A baseline trains nothing, and a rate over less than a second says nothing.
        if images > first and seconds >= 1 and trial.role != "baseline":
            parts.append(f"{(images - first) / seconds:,.0f} images/s")
        self.bars.update(task, completed=images, text=printable(", ".join(parts)))

    def finished(self, trial: Planned, record: dict[str, Any], cost: dict[str, Any]) -> None:
        self.done += 1
        task, _, _ = self.running.pop(trial.title, (None, 0.0, 0))
        if task is not None:
            self.bars.remove_task(task)
        budget = trial.spec.protocol.budget_images
        self.bars.advance(self.sweep, budget - min(budget, self.seen.get(trial.title, 0)))
        self.bars.update(self.sweep, description=f"{self.done}/{self.total} trials")
        self.note(describe(trial, record, cost))

    def close(self) -> None:
        self.bars.stop()


def display() -> PlainDisplay:
    """The live display on a terminal, plain lines elsewhere."""
    return LiveDisplay() if sys.stderr.isatty() else PlainDisplay()


def metric_label(trial: Planned) -> str:
    """``FID (digits-cnn)``: the primary metric, never bare."""
    return f"{trial.metrics[trial.primary]['label']} ({trial.spec.protocol.extractor})"


def describe(trial: Planned, record: dict[str, Any], cost: dict[str, Any]) -> str:
    """One line about a finished trial."""
    text = f"{trial.title}: {record['status']}"
    if record["reason"]:
        text += f": {record['reason']}"
    score = number(record["values"].get(trial.primary))
    if score:
        text += f", {metric_label(trial)} {score}"
    if "wall_seconds" in cost:
        text += f", {cost['wall_seconds']:.1f} s"
    return printable(text)


def show(leaderboard: pd.DataFrame, trials: pd.DataFrame) -> None:
    """Print every section: a drawn table on a terminal, plain aligned text elsewhere, one line a row.

    Below it, the trials whose training failed, a few of each kind.
    """
    for section in sections(leaderboard):
        if sys.stdout.isatty():
            draw(section, Console())
        else:
            headings, rows = cells(section)
            print(printable(f"{section.dataset}. {conditions(section)}"))
            for text in warnings(section):
                print(printable(f"warning: {text}"))
            print(plain([headings, *rows]))
        for word, meaning, lines in judged(section, trials):
            say(f"{word}: {meaning}.")
            for line in lines[:NAMED]:
                say(f"  {line}")
            if len(lines) > NAMED:
                say(f"  and {len(lines) - NAMED} more; trials.csv and leaderboard.md have them all")
        _tell(remarks(section))
    if together := overview(leaderboard):
        say("Across datasets")
        if together.rows:
            print(plain([together.headings, *together.rows]))
        _tell(together.notes)


def _tell(sentences: list[str]) -> None:
    for sentence in sentences:
        say(f"  {sentence}")
    print()


def plain(lines: list[list[str]]) -> str:
    """Columns padded with spaces, nothing wrapped or shortened."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)


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
        if i > FIXED and (hidden or room < 0):
            hidden.append(label(section, section.metrics[i - FIXED]))
            continue
        table.add_column(
            escape(column[0]), justify="left" if words else "right", no_wrap=not words, overflow="fold", vertical="top"
        )
    shown = len(table.columns)
    for row in rows:
        unranked = "dim" if not row[0] else None
        table.add_row(*map(escape, row[:shown]), style="italic" if row is rows[-1] else unranked)
    console.print(escape(printable(section.dataset)), style="bold", highlight=False)
    console.print(escape(printable(conditions(section))), style="dim", highlight=False)
    for text in warnings(section):
        console.print(escape(printable(f"warning: {text}")), style="yellow", highlight=False)
    console.print(table)
    if hidden:
        text = f"Not shown for lack of width: {', '.join(hidden)}; they are in leaderboard.html and .csv."
        console.print(escape(printable(text)), style="dim", highlight=False)


def summarise(contents: Contents, folder: Path) -> None:
    """Say what the tables mean, what they leave out, and where they stand."""
    failed = [record for record in contents.records if record["status"] != "completed"]
    if contents.records:
        say(f"{LEGEND} {PAIRS}")
    for record in failed:
        trial = record["identity"]["trial"]
        what = f"{record['label']} on {trial['dataset']}, seed {trial['seed']}"
        say(f"{what}: {record['status']}: {record['reason']}", sys.stderr)
    if contents.interrupted:
        say(f"{contents.interrupted} interrupted trials have no row; the same ganbench run continues them", sys.stderr)
    if contents.superseded:
        say(f"{contents.superseded} records of earlier code are in {folder / 'superseded'}", sys.stderr)
    for problem in contents.problems:
        remedy = "ganbench rescore computes it again" if problem.path.name == FILE else "ganbench run trains it again"
        say(f"left out: {problem.path}: {problem.reason}; {remedy}", sys.stderr)
    if contents.records:
        say(f"Tables: {folder / 'leaderboard.html'}, .md, .csv and trials.csv; a folder a trial beside them.")


def say(text: str, file: TextIO | None = None) -> None:
    """One line, on a terminal wrapped between words."""
    file = file or sys.stdout
    text = printable(text)
    if file.isatty():
        Console(file=file).print(escape(text), highlight=False)
    else:
        print(text, file=file)
