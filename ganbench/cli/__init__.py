"""The command line: one file a command, with its options and what it does.

What several commands share stands in ``options`` and ``config``. Heavy modules load inside functions: help is fast.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ganbench import __version__
from ganbench.cli.auditing import selftest, verify
from ganbench.cli.authoring import check, new
from ganbench.cli.joining import compare, merge
from ganbench.cli.looking import sample, show
from ganbench.cli.marking import rescore, score
from ganbench.cli.options import engine_options, names_option, plugin_options, request_options, results_option
from ganbench.cli.searching import tune
from ganbench.utils.errors import EXIT_DAMAGED, EXIT_INTERRUPTED, EXIT_USAGE, UsageError, printable


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="ganbench")
def cli() -> None:
    """Benchmark GANs: train plugins under one protocol, score them, and rank them with honest statistics.

    \b
    Start here:
      ganbench run --plugins dcgan,vanilla     about a minute on two cores, no GPU
      ganbench list                            what is installed
      ganbench new my-gan                      a package for your own; ganbench check my-gan tries it
      ganbench compare before after            better, worse or no evidence

    \b
    Exit codes: 0 all trials completed, 1 some trial failed, 2 wrong usage,
    3 the results folder is damaged or rows may not be compared, 130 interrupted.
    """


@cli.command()
@request_options
@click.option(
    "--seeds",
    multiple=True,
    metavar="N|LIST",
    help="5 is seeds 0 to 4; '7,' is seed 7; 3,7 and 10-19 are lists.  [default: 5]",
)
@click.option(
    "--engine",
    type=click.Choice(["serial", "seeds"]),
    default="serial",
    show_default=True,
    help="seeds: all seeds of a variant in one computation, for small networks; another protocol.",
)
@engine_options
@results_option("Folder for records and tables.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and stop.")
def run(**options: Any) -> None:
    """Train variants on datasets, score them, and rank them.

    Every trial (a variant, a dataset, a seed) trains on the same number of real images, in a process of
    its own, and leaves a folder with its record, history and sample pictures. The same command again
    continues: finished trials are kept, interrupted ones go on where they were.

    \b
    Examples:
      ganbench run --plugins dcgan,vanilla
      ganbench run -p dcgan -d fashion-mnist --seeds 3 --set dcgan.lr=5e-4
      ganbench run -p vanilla -d ring8,grid25 --seeds 10-19 --results rings
    """
    from ganbench.cli.run import run_sweep

    sys.exit(run_sweep(**options))


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines: everything, with hyperparameters.")
@click.option("--planted", is_flag=True, help="Show the variants that fail on purpose, too.")
@plugin_options
def list_(as_json: bool, planted: bool) -> None:
    """List what is installed: variants, datasets, extractors, metrics, reporters; what is broken, and why.

    Each has its distribution and version, the hooks of its module, and a status: ok or duplicate. Variants have their
    hyperparameters and the first digits of the source hash that their records hold. What is broken or blocked, and
    what is offered twice, stands below. Exit code 1 if something is broken or offered twice.
    """
    from ganbench.cli.list import show_catalog

    sys.exit(show_catalog(as_json, planted))


@cli.command()
@results_option("Folder that ganbench run wrote.")
@click.option(
    "--storage",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The --storage of that run: its unfinished trials are counted.",
)
@names_option("--format", "formats", help="Formats to write.  [default: csv,html,md]")
def report(results: Path, storage: Path | None, formats: tuple[str, ...]) -> None:
    """Write the leaderboard of a results folder again, from its records alone.

    A damaged record is left out and named (exit code 3); nothing is trained and no plugin is imported.
    """
    from ganbench.reporters import DEFAULT
    from ganbench.reporters.report import write_reports
    from ganbench.reporters.terminal import show, summarise

    if not results.is_dir():
        raise UsageError(
            f"there is no results folder {results}; ganbench run makes one, or name another with --results"
        )
    contents, tables = write_reports(results, formats or DEFAULT, storage)
    if not contents.records and not contents.problems:
        raise UsageError(f"there are no records in {results}; ganbench run makes them")
    show(tables)
    summarise(contents, results)
    sys.exit(EXIT_DAMAGED if contents.problems else 0)


for command in (new, check, show, sample, compare, merge, score, rescore, tune, selftest, verify):
    cli.add_command(command)


def main() -> None:
    """The console script."""
    from ganbench.utils import failpoints
    from ganbench.utils.files import StoreError

    for stream in (sys.stdout, sys.stderr):  # a locale without arrows must not cost a finished sweep its table
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        failpoints.arm()
        cli.main(prog_name="ganbench", standalone_mode=False)
    except click.ClickException as reason:
        reason.message = "\n".join(map(printable, reason.message.split("\n")))  # type: ignore[misc]
        reason.show()
        sys.exit(reason.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("ganbench: interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except UsageError as reason:
        click.echo(printable(f"ganbench: {reason}"), err=True)
        sys.exit(EXIT_USAGE)
    except StoreError as reason:
        click.echo(printable(f"ganbench: {reason}"), err=True)
        sys.exit(EXIT_DAMAGED)


if __name__ == "__main__":
    main()
