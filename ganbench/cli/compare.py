"""``ganbench compare``: whether the variants of one set of results are better or worse in another."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ganbench.cli.options import NewFile
from ganbench.results.store import read_records, takes_name, tell, typed_path
from ganbench.utils.console import plain, say
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED, EXIT_USAGE, UsageError
from ganbench.utils.files import write_output

MOST_NAMED = 5  # of what only one side has; the rest is counted
OTHER_VERSION = (
    "the two were scored by different versions of ganbench's metrics, at other moments of training and ranked by other "
    "metrics: train the earlier trials again with ganbench run, or compare results of one version"
)


@click.command("compare")
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@click.option(
    "--fail-on-regression",
    is_flag=True,
    help="Exit 1 if a variant is significantly worse, 2 if the seeds could never show it or AFTER lacks it.",
)
@click.option("--html", "page", type=NewFile(), help="Write both side by side into this page.")
def command(before: str, after: str, fail_on_regression: bool, page: Path | None) -> None:
    """Compare two sets of results: for each variant better, worse, or no evidence.

    BEFORE and AFTER are results folders, trials.csv files, leaderboard.html pages, or the word reference: the
    results that come with ganbench. Each row has the p-value (Welch's t-test, Holm over all rows), the effect
    P(AFTER beats BEFORE), how far trials of the same seed differ, and notes of other environments, seeds or failures.
    What has another protocol or other data on the two sides is no row: it is named, with what differs (exit code 3).

    \b
    Examples:
      ganbench compare before after
      ganbench compare reference ganbench-results
      ganbench compare main/trials.csv ganbench-results --fail-on-regression
      ganbench compare published/leaderboard.html ganbench-results --html changes.html
    """
    from ganbench.analysis.comparison import SIDES, comparison, undecidable, unmatched
    from ganbench.analysis.frames import to_frame
    from ganbench.analysis.trials_csv import read_trials, reference_table
    from ganbench.reporters.formatting import number

    frames, problems = [], []
    for name in (before, after):
        shipped = takes_name(name, name == "reference", "the results that come with ganbench", tell)
        path = reference_table() if shipped else typed_path(name)
        if path.is_file():
            frames.append(read_trials(path))
        elif path.is_dir():
            contents = read_records(path)
            problems += contents.problems
            frames.append(to_frame(contents.records, history=False))
        else:
            raise UsageError(f"there is no results folder, trials.csv or leaderboard.html {name}")
    for problem in problems:
        say(f"left out: {problem.path}: {problem.reason}", sys.stderr)
    table, refused = comparison(*frames)
    for reason in refused:
        say(f"ganbench: {reason}", sys.stderr)
    if any("metrics_version" in reason.fields for reason in refused):
        say(OTHER_VERSION, sys.stderr)
    if refused and table.empty:
        sys.exit(EXIT_DAMAGED)
    left_out = unmatched(*frames)
    for side, name in zip(SIDES, (before, after), strict=True):
        own = [text for text in left_out if text.endswith(f": only {side}")]
        if name == "reference" and len(own) > 1:  # nobody trains all of that
            own = [f"{len(own)} of the reference: only {side}"]
        elif len(own) > MOST_NAMED + 1:
            own = [*own[:MOST_NAMED], f"{len(own) - MOST_NAMED} more: only {side}"]
        for text in own:
            say(f"left out: {text}", sys.stderr)
    if table.empty:
        raise UsageError(
            f"{before} and {after} have no variant and dataset in common: there is nothing to compare "
            "(baselines and planted failures are left out)"
        )
    if page is not None:
        from ganbench.reporters.comparison_page import to_page

        write_output(page, to_page(table, frames[0], frames[1], (before, after), left_out, refused).encode())
    cells = table.map(lambda cell: cell if isinstance(cell, str) else number(cell))
    sys.stdout.write(plain([list(map(str, cells.columns)), *cells.to_numpy().tolist()]))
    if problems or refused:
        sys.exit(EXIT_DAMAGED)
    if not fail_on_regression:
        sys.exit(EXIT_COMPLETED)
    if (table["conclusion"] == "worse").any():
        sys.exit(EXIT_FAILED)
    texts = undecidable(table)
    if before != "reference":  # which has more variants than anybody compares it with
        texts += [f"{text}: nothing shows that it is no worse" for text in left_out if text.endswith(": only before")]
    for text in texts:
        say(f"ganbench: {text}", sys.stderr)
    sys.exit(EXIT_USAGE if texts else EXIT_COMPLETED)
