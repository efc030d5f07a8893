"""The command line. Thin: each command collects its options and calls one function; heavy modules load inside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ganbench import __version__
from ganbench.auditing import selftest, verify
from ganbench.errors import EXIT_DAMAGED, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, UsageError
from ganbench.marking import rescore, score
from ganbench.options import names_option, read_config, results_option, weights_option


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="ganbench")
def cli() -> None:
    """Benchmark GANs: train plugins under one protocol, score them, and rank them with honest statistics.

    \b
    Start here:
      ganbench run --plugins dcgan,vanilla     about a minute on two cores, no GPU
      ganbench list                            what is installed
      ganbench compare before after            better, worse or no evidence

    \b
    Exit codes: 0 all trials completed, 1 some trial failed, 2 wrong usage,
    3 the results folder is damaged or rows may not be compared, 130 interrupted.
    """


@cli.command()
@names_option("--plugins", "-p", required=True, help="Variants to train, such as dcgan,vanilla.")
@names_option(
    "--datasets", "-d", default=["digits"], help="What they learn: digits, fashion-mnist, ring8, ...  [default: digits]"
)
@click.option(
    "--seeds",
    multiple=True,
    metavar="N|LIST",
    help="5 is seeds 0 to 4; '7,' is seed 7; 3,7 and 10-19 are lists.  [default: 5]",
)
@click.option(
    "--images", type=click.IntRange(1), help="Budget: real images each trial sees.  [default: the dataset's own]"
)
@click.option(
    "--evaluations",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Scored points of a training; they never change the weights.",
)
@click.option(
    "--batch-size", type=click.IntRange(2), default=64, show_default=True, help="Real images a training step sees."
)
@click.option(
    "--samples",
    type=click.IntRange(2),
    help="Samples scored at an evaluation.  [default: as many as held-out images, at most 10,000]",
)
@names_option("--metrics", "-m", help="Metrics to compute.  [default: all that suit the dataset]")
@click.option("--extractor", help="What turns images into features.  [default: the classifier trained on the dataset]")
@weights_option()
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads of a trial. They change the last bits of the numbers.",
)
@click.option(
    "--jobs", "-j", type=click.IntRange(1), help="Trials at a time; never changes a score.  [default: cores / threads]"
)
@click.option(
    "--executor",
    default="local",
    show_default=True,
    help="Engine: local (a process a trial) or inline (this process, for debuggers).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="End a trial that runs longer; it counts as failed.",
)
@click.option("--retry-failed", is_flag=True, help="Run failed trials again; without it they are kept.")
@names_option("--observe", help="Plugins that may watch the run, such as a logger.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="VARIANT.KEY=VALUE",
    help="A hyperparameter, such as dcgan.lr=1e-4. Repeatable.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="TOML file of these options; the command line wins.",
)
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
    from ganbench.sweep import run_sweep

    sys.exit(run_sweep(**options))


@cli.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines: everything, with hyperparameters.")
@click.option("--planted", is_flag=True, help="Show the variants that fail on purpose, too.")
def list_(as_json: bool, planted: bool) -> None:
    """List what is installed: variants, datasets, extractors, metrics; what is broken, and why."""
    from ganbench.listing import show_catalog

    sys.exit(show_catalog(as_json, planted))


@cli.command()
@results_option("Folder that ganbench run wrote.")
@names_option("--format", "formats", help="Formats to write.  [default: csv,html,md]")
def report(results: Path, formats: tuple[str, ...]) -> None:
    """Write the leaderboard of a results folder again, from its records alone.

    A damaged record is left out and named (exit code 3); nothing is trained and no plugin is imported.
    """
    from ganbench.display import show, summarise
    from ganbench.reporters import DEFAULT
    from ganbench.reporting import write_reports

    if not results.is_dir():
        raise UsageError(
            f"there is no results folder {results}; ganbench run makes one, or name another with --results"
        )
    contents, board = write_reports(results, formats or DEFAULT)
    if not contents.records and not contents.problems:
        raise UsageError(f"there are no records in {results}; ganbench run makes them")
    show(board)
    summarise(contents, results)
    sys.exit(EXIT_DAMAGED if contents.problems else 0)


@cli.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--fail-on-regression", is_flag=True, help="Exit 1 if a variant is significantly worse.")
def compare(before: Path, after: Path, fail_on_regression: bool) -> None:
    """Compare two results folders: for each variant better, worse, or no evidence.

    Rows of different protocol or data are refused (exit code 3), naming what differs.
    """
    from ganbench.comparison import Incomparable
    from ganbench.comparison import compare as compare_frames
    from ganbench.display import show_comparison
    from ganbench.frames import to_frame
    from ganbench.store import read_records

    folders = []
    for path in (before, after):
        if not path.is_dir():
            raise UsageError(f"there is no results folder {path}")
        folders.append(read_records(path))
    problems = [problem for contents in folders for problem in contents.problems]
    for problem in problems:
        click.echo(f"left out: {problem.path}: {problem.reason}", err=True)
    try:
        table = compare_frames(*(to_frame(contents.records) for contents in folders))
    except Incomparable as reason:
        click.echo(f"ganbench: {reason}", err=True)
        sys.exit(EXIT_DAMAGED)
    show_comparison(table)
    if problems:
        sys.exit(EXIT_DAMAGED)
    sys.exit(EXIT_FAILED if fail_on_regression and (table["conclusion"] == "worse").any() else 0)


cli.add_command(score)
cli.add_command(rescore)
cli.add_command(selftest)
cli.add_command(verify)


def main() -> None:
    """The console script."""
    from ganbench import failpoints
    from ganbench.files import StoreError

    for stream in (sys.stdout, sys.stderr):  # a locale without arrows must not cost a finished sweep its table
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        failpoints.arm()
        cli.main(prog_name="ganbench", standalone_mode=False)
    except click.ClickException as reason:
        reason.show()
        sys.exit(reason.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("ganbench: interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except UsageError as reason:
        click.echo(f"ganbench: {reason}", err=True)
        sys.exit(EXIT_USAGE)
    except StoreError as reason:
        click.echo(f"ganbench: {reason}", err=True)
        sys.exit(EXIT_DAMAGED)


if __name__ == "__main__":
    main()
