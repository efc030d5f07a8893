"""``ganbench report``: the leaderboard of a results folder, written again from its records."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ganbench.cli.options import names_option, results_option
from ganbench.reporters import DEFAULT
from ganbench.results.store import PAGES
from ganbench.utils.errors import EXIT_DAMAGED, UsageError

NONE_AGREE = "No rank correlations: they take a table of five ranked variants whose scores differ, in two metrics."


@click.command("report")
@results_option("Folder that ganbench run wrote.")
@click.option(
    "--storage",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The --storage of that run: its unfinished trials are counted.",
)
@names_option("--format", "formats", help="Formats to write.  [default: csv,html,md]")
@names_option("--columns", help="Columns of the leaderboard, such as rank,variant,fid,verdict.  [default: all]")
@click.option("--agreement", is_flag=True, help="Print how far each two metrics rank alike (Spearman), too.")
def command(
    results: Path, storage: Path | None, formats: tuple[str, ...], columns: tuple[str, ...], agreement: bool
) -> None:
    """Write the leaderboard of a results folder again, from its records alone, and name every file written.

    --columns holds for every format, in that order; a metric brings its interval and its floor, and trials.csv stays
    whole. A damaged record is left out and named (exit code 3); nothing is trained and no plugin is imported.

    \b
    Examples:
      ganbench report
      ganbench report --format latex --columns rank,variant,fid,recall,verdict
    """
    from ganbench.reporters.report import write_reports
    from ganbench.reporters.terminal import show, summarise

    if not results.is_dir():
        raise UsageError(
            f"there is no results folder {results}; ganbench run makes one, or name another with --results"
        )
    before = _stamps(results)
    contents, tables = write_reports(results, formats or DEFAULT, storage, columns)
    if not contents.records and not contents.problems:
        raise UsageError(f"there are no records in {results}; ganbench run makes them")
    show(tables)
    if agreement:
        from ganbench.analysis.agreement import agreement as agree

        directions = {name: str(about.get("direction", "none")) for name, about in tables.metrics.items()}
        pairs = agree(tables.leaderboard, directions)
        print(pairs.round(2).to_string(index=False) if len(pairs) else NONE_AGREE)
    summarise(contents, results, [name for name, stamp in _stamps(results).items() if before.get(name) != stamp])
    sys.exit(EXIT_DAMAGED if contents.problems else 0)


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file of the folder is written, whichever reporter writes it; of ``trials/`` as of a file."""
    found = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.name.startswith(".") and (entry.is_file() or entry.name == PAGES):
            about = entry.stat()
            found[entry.name] = about.st_ino, about.st_mtime_ns
    return found
