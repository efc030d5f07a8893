"""What a person sees: progress on standard error while a sweep runs, tables on standard output afterwards."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ganbench.planning import Planned
from ganbench.reporters.layout import Section, cells, number, sections
from ganbench.store import Contents


class PlainDisplay:
    """One line a finished trial, for pipes and logs."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

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


class LiveDisplay(PlainDisplay):
    """Bars for the sweep and each running trial: images a second, time left, latest score."""

    def __init__(self) -> None:
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
        )
        self.running: dict[str, tuple[TaskID, float, int]] = {}
        self.seen: dict[str, int] = {}

    def note(self, text: str) -> None:
        self.bars.console.print(escape(text), highlight=False)

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
            task = self.bars.add_task(f"  {escape(key)}", total=budget, text="", completed=images)
            self.running[key] = (task, time.monotonic(), images)
            self.bars.advance(self.sweep, images)
            self.seen[key] = images
        task, start, first = self.running[key]
        self.bars.advance(self.sweep, max(0, images - self.seen[key]))
        self.seen[key] = max(images, self.seen[key])
        seconds = time.monotonic() - start
        text = f"{(images - first) / seconds:.0f} images/s" if images > first and seconds > 0 else ""
        score = (evaluation or {}).get("values", {}).get(trial.primary)
        if score is not None:
            text += f"  {label(trial)} {number(score)}"
        self.bars.update(task, completed=images)
        if text:
            self.bars.update(task, text=text)

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


def label(trial: Planned) -> str:
    """``FID (digits-cnn)``: the primary metric, never bare."""
    return f"{trial.metrics[trial.primary]['label']} ({trial.spec.protocol.extractor})"


def describe(trial: Planned, record: dict[str, Any], cost: dict[str, Any]) -> str:
    """One line about a finished trial."""
    text = f"{trial.title}: {record['status']}"
    if record["reason"]:
        text += f": {record['reason']}"
    score = record["values"].get(trial.primary)
    if score is not None:
        text += f", {label(trial)} {number(score)}"
    if "wall_seconds" in cost:
        text += f", {cost['wall_seconds']:.1f} s"
    return text


def show(leaderboard: pd.DataFrame) -> None:
    """Print every section: a drawn table on a terminal, plain aligned text elsewhere, one line a row."""
    for section in sections(leaderboard):
        headings, rows = cells(section)
        if sys.stdout.isatty():
            _draw(section, headings, rows)
        else:
            print(f"{section.dataset} (extractor {section.extractor}, protocol {section.protocol})")
            print(plain([headings, *rows]))


def plain(lines: list[list[str]]) -> str:
    """Columns padded with spaces, nothing wrapped or shortened."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)


def _draw(section: Section, headings: list[str], rows: list[list[str]]) -> None:
    """As many metrics as fit the terminal; the rest stand in the files."""
    console = Console()
    widths = [max(len(line[i]) for line in ([_short(h) for h in headings], *rows)) + 3 for i in range(len(headings))]
    fit = len(headings)
    while fit > 7 and sum(widths[:fit]) > console.width:
        fit -= 1
    table = Table(
        title=f"{section.dataset}, scores by {section.extractor}, protocol {section.protocol}", title_justify="left"
    )
    for heading in headings[:fit]:
        table.add_column(
            escape(heading).replace(" (", "\n(", 1), justify="left" if heading in ("Variant", "Verdict") else "right"
        )
    for row in rows:
        table.add_row(*(escape(cell) for cell in row[:fit]), style="dim" if not row[0] else None)
    console.print(table)
    if fit < len(headings):
        console.print(f"[dim]and {len(headings) - fit} more metrics in leaderboard.csv and leaderboard.html[/dim]")


def _short(heading: str) -> str:
    return max(heading.split(" (", 1), key=len)


def summarise(contents: Contents, folder: Path) -> None:
    """Say what the tables mean, what they leave out, and where they stand."""
    failed = [record for record in contents.records if record["status"] != "completed"]
    if contents.records:
        print("Median over seeds [interval]. Variants that share a tier letter cannot be told apart.")
    for record in failed:
        trial = record["identity"]["trial"]
        what = f"{record['label']} on {trial['dataset']}, seed {trial['seed']}"
        print(f"{what}: {record['status']}: {record['reason']}", file=sys.stderr)
    if contents.interrupted:
        print(
            f"{contents.interrupted} interrupted trials have no row; the same ganbench run continues them",
            file=sys.stderr,
        )
    if contents.superseded:
        print(f"{contents.superseded} records of earlier code are in {folder / 'superseded'}", file=sys.stderr)
    for problem in contents.problems:
        print(f"left out: {problem.path}: {problem.reason}; ganbench run trains it again", file=sys.stderr)
    if contents.records:
        print(f"Tables: {folder / 'leaderboard.html'}, .md, .csv and trials.csv; a folder a trial beside them.")


def show_comparison(table: pd.DataFrame) -> None:
    """Print a comparison, one line a variant and metric."""
    shown = table.map(lambda cell: number(cell) if isinstance(cell, float) else str(cell))
    sys.stdout.write(plain([list(map(str, shown.columns)), *shown.to_numpy().tolist()]))
