"""Shows the progress of a sweep on the screen: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from ganbench.reporters.formatting import number
from ganbench.results.schema import Evaluation, Record
from ganbench.results.spec import Planned
from ganbench.utils.errors import printable


class PlainDisplay:
    """One line a finished trial, for pipes and logs."""

    def note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def begin(self, trials: list[Planned], kept: int, where: str = "") -> None:
        self.total, self.done = len(trials), 0
        self.note(f"{len(trials)} trials to run, {kept} finished earlier{where and f'; {where}'}")

    def progress(self, trial: Planned, images: int, evaluation: Evaluation | None) -> None:
        """Prints nothing: a log holds finished trials alone."""

    def finished(self, trial: Planned, record: Record, cost: dict[str, Any]) -> None:
        self.done += 1
        self.note(f"[{self.done}/{self.total}] {describe(trial, record, cost)}")

    def close(self) -> None:
        """Does nothing: there are no bars to remove."""


class RemainingTextColumn(ProgressColumn):
    """A task's text, cut where the width that the other columns leave ends."""

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
            RemainingTextColumn(),
            console=console,
            transient=True,
        )
        self.running: dict[str, tuple[TaskID, float, int]] = {}
        self.seen: dict[str, int] = {}
        self.scores: dict[str, str] = {}

    def note(self, text: str) -> None:
        self.bars.console.print(escape(printable(text)), highlight=False)

    def begin(self, trials: list[Planned], kept: int, where: str = "") -> None:
        self.total, self.done = len(trials), 0
        if where:
            self.note(f"{len(trials)} trials to run {where}")
        if kept:
            self.note(f"{kept} trials finished earlier are kept")
        if trials:
            images = sum(trial.spec.protocol.budget_images for trial in trials)
            self.sweep = self.bars.add_task(f"0/{self.total} trials", total=images, text="")
            self.bars.start()

    def progress(self, trial: Planned, images: int, evaluation: Evaluation | None) -> None:
        key, budget = trial.title, trial.spec.protocol.budget_images
        if key not in self.running:
            task = self.bars.add_task(f"  {printable(key)}", total=budget, text="", completed=images)
            self.running[key] = (task, time.monotonic(), images)
            self.bars.advance(self.sweep, images)
            self.seen[key] = images
        task, start, first = self.running[key]
        self.bars.advance(self.sweep, max(0, images - self.seen[key]))
        self.seen[key] = max(images, self.seen[key])
        if score := number(evaluation and evaluation.values.get(trial.primary)):
            self.scores[key] = f"{metric_label(trial)} {score}"
        parts = [self.scores[key]] if key in self.scores else []
        seconds = time.monotonic() - start
        # A baseline trains nothing, and a rate over less than a second says nothing.
        if images > first and seconds >= 1 and trial.role != "baseline":
            parts.append(f"{(images - first) / seconds:,.0f} images/s")
        self.bars.update(task, completed=images, text=printable(", ".join(parts)))

    def finished(self, trial: Planned, record: Record, cost: dict[str, Any]) -> None:
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


def describe(trial: Planned, record: Record, cost: dict[str, Any]) -> str:
    """One line about a finished trial."""
    text = f"{trial.title}: {record.status}"
    if record.reason:
        text += f": {record.reason}"
    score = number(record.values.get(trial.primary))
    if score:
        text += f", {metric_label(trial)} {score}"
    text += "".join(f", {about.note}" for about in record.metrics.values() if isinstance(about.note, str))
    if "wall_seconds" in cost:
        text += f", {cost['wall_seconds']:.1f} s"
    return printable(text)
