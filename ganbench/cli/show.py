"""``ganbench show``: one trial on the terminal, its status first, its curves as a line of blocks each."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganbench.cli.options import results_option
from ganbench.results.progress import FILE as PROGRESS
from ganbench.results.progress import ProgressReader
from ganbench.results.records import DamagedRecord, read
from ganbench.results.schema import Evaluation, MetricColumn
from ganbench.results.store import UNFINISHED, locate
from ganbench.utils.console import plain, say
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from ganbench.analysis.statistics import Floats
    from ganbench.reporters.trials import Trial

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 40  # of a line of blocks
LOG_LINES = 10


@click.command("show")
@click.argument("trial", metavar="TRIAL")
@results_option("Folder in which a trial's id is looked up.")
def command(trial: str, results: Path) -> None:
    """Show one trial: status and verdict, scores, curves, hyperparameters, environment, and how to make it again.

    TRIAL is a trial's folder, or its id of eight digits as trials.csv has it. Exit code 1 if it failed or was
    interrupted, 3 if its record is damaged.

    \b
    Examples:
      ganbench show ganbench-results/digits/dcgan/seed-0-1a2b3c4d
      ganbench show 1a2b3c4d
    """
    sys.exit(show_trial(trial, results))


def show_trial(text: str, results: Path) -> int:
    """Print a trial and return the exit code: 0 completed, 1 failed or interrupted, 3 damaged."""
    from ganbench.analysis.ranking import trials_table
    from ganbench.reporters.trial_page import command as command_line
    from ganbench.reporters.trial_page import facts, flat, tail
    from ganbench.reporters.trials import Trial, costs

    folder = locate(text, results)
    if not (folder / "record.json").exists():
        return _interrupted(folder)
    try:
        record = read(folder / "record.json")
    except DamagedRecord as reason:
        say(f"{folder}: damaged: {reason}; ganbench run trains it again", sys.stderr)
        return EXIT_DAMAGED
    about = {str(name): value for name, value in trials_table([record]).iloc[0].items()}
    trial = Trial(about, record, folder, costs(folder))
    _headline(trial)
    print(plain(_lines(record.metrics, record.values, record.evaluations, record.identity.evaluation.extractor)))
    _section("Hyperparameters", flat(record.identity.trial.hyperparameters))
    _section("Record", facts(trial))
    _section("Environment", flat(record.environment))
    say(f"Make it again: {command_line(record)}")
    if not trial.completed and (log := tail(folder, folder, LOG_LINES)):
        say("End of its log:")
        for line in log.splitlines():
            say(f"  {line}")
    return EXIT_COMPLETED if trial.completed else EXIT_FAILED


def _headline(trial: Trial) -> None:
    from ganbench.analysis.stability import MEANINGS

    about = trial.about
    parts = [f"{about['variant']} on {about['dataset']}, seed {trial.seed}: {about['status']}"]
    parts += [str(about["reason"])] if about["reason"] else []
    say(": ".join(parts))
    if trial.word in MEANINGS:
        note = f" ({about['note']})" if about["note"] else ""
        place = f" at {trial.images:,} images" if trial.images is not None else ""
        figures = f"; {about['evidence']}" if about["evidence"] else ""
        say(f"verdict {trial.word}{note}{place}: {MEANINGS[trial.word]}{figures}")
    print()


def _section(title: str, pairs: Iterator[tuple[str, str]]) -> None:
    lines = [[f"  {name}", value] for name, value in pairs]
    if lines:
        say(title)
        print(plain(lines))


def _interrupted(folder: Path) -> int:
    """A trial without a record: how far it came, as its progress says."""
    if not any((folder / name).exists() for name in UNFINISHED):
        raise UsageError(f"{folder} is no trial: it has neither a record nor a checkpoint")
    images, attempts = 0, 0
    evaluations: list[Evaluation] = []
    for entry in ProgressReader(folder / PROGRESS).new_lines():
        attempts += entry.attempt is not None
        images = max(images, entry.images or 0)
        if evaluation := entry.evaluation:
            images = max(images, evaluation.images_seen)
            if not evaluations or evaluation.images_seen > evaluations[-1].images_seen:
                evaluations.append(evaluation)
    say(
        f"{folder}: interrupted after {images:,} images, attempt {max(attempts, 1)}; the same ganbench run continues it"
    )
    if evaluations:
        names = list(dict.fromkeys(name for evaluation in evaluations for name in evaluation.values))
        metrics = {name: MetricColumn(label=name, direction="none", position=i) for i, name in enumerate(names)}
        print()
        print(plain(_lines(metrics, {}, evaluations)))
    return EXIT_FAILED


def _lines(
    metrics: Mapping[str, MetricColumn],
    ends: Mapping[str, float | None],
    evaluations: list[Evaluation],
    extractor: str = "",
) -> list[list[str]]:
    """A line for each metric and each thing that was watched: course, lowest, highest, the last value, the floor."""
    import numpy as np

    from ganbench.reporters.charts import finite
    from ganbench.reporters.formatting import ARROWS, number, ordered, titled
    from ganbench.reporters.training_curves import watched

    lines = [["", "course", "lowest", "highest", "last", "floor"]]
    for name in ordered(metrics):
        about = metrics[name]
        course = finite([evaluation.values.get(name) for evaluation in evaluations])
        end = ends.get(name)
        if end is not None or np.isfinite(course).any():
            title = f"{titled(about, extractor)}{ARROWS.get(about.direction, '')}"
            lines.append([title, *_figures(course, end), number(about.floor)])
    for title, course in watched(evaluations):
        lines.append([title, *_figures(course, None), ""])
    return lines


def _figures(course: Floats, end: float | None) -> list[str]:
    import numpy as np

    from ganbench.reporters.formatting import number

    known = course[np.isfinite(course)]
    if not len(known):
        return ["", "", "", number(end)]
    last = number(end if end is not None else float(known[-1]))
    return [sparkline(course), number(float(known.min())), number(float(known.max())), last]


def sparkline(course: Floats) -> str:
    """Values as blocks from the lowest to the highest, a space for a gap; a long course is thinned."""
    import numpy as np

    if len(course) > WIDTH:
        course = course[np.linspace(0, len(course) - 1, WIDTH).round().astype(int)]
    known = course[np.isfinite(course)]
    if not len(known):
        return ""
    low, span = float(known.min()), float(known.max() - known.min())
    steps = 7 * (course - low) / (span or 1.0)
    return "".join(BLOCKS[round(step)] if np.isfinite(step) else " " for step in steps.tolist())
