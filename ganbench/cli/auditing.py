"""The commands that put a results folder, or the file system under it, to the test: ``selftest`` and ``verify``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ganbench.cli.options import plugin_options


@click.command()
@click.option("--kills", type=click.IntRange(1), default=50, show_default=True, help="How often to kill.")
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to do it in.  [default: a temporary one]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the moments and targets.")
def selftest(kills: int, results: Path | None, seed: int) -> None:
    """Kill a small sweep again and again, and see that nothing is lost.

    A small GAN is trained on two datasets, and a worker, the driver or the whole process group is killed at random
    moments (kill -9). The same command continues it; in the end every record and table must have the bytes of a sweep
    that nobody killed. Name a folder with --results to test the file system that your results are on: the sweeps run
    in a new folder inside it, which is removed afterwards. Exit code 0 if all bytes are equal, 1 if not; then the
    folder is kept. A kill takes about 5 seconds.
    """
    from ganbench.cli.selftest import selftest as run_selftest

    sys.exit(run_selftest(kills, results, seed))


@click.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--records-only", is_flag=True, help="Hashes and tables alone: no torch, no plugin is imported.")
@click.option("--rerun", type=click.IntRange(0), default=0, metavar="N", help="Train so many trials again.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws the trials of --rerun.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps.  [default: the kind that a trial was trained on]")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Trials at a time.  [default: cores]")
@click.option("--executor", default="local", show_default=True, help="Engine: local or inline.")
@plugin_options
def verify(
    results: Path, records_only: bool, rerun: int, seed: int, device: str | None, jobs: int | None, executor: str
) -> None:
    """Check that a results folder is what its trials gave.

    Every record is hashed, and the tables are made again in memory and compared byte for byte with the files. Samples
    are drawn again from each completed trial's stored state, and its last evaluation is computed again. --rerun trains
    trials drawn at random once more, in a temporary folder.

    In the environment that made a record (versions, threads, CPU, device) every number must be bit-identical. In
    another one, numbers from a stored state may differ by 1 %, and a training by what seeds differ. Exit code 0 if
    nothing is wrong, 3 if something is. Nothing in RESULTS is changed.

    \b
    Examples:
      ganbench verify results --records-only
      ganbench verify results --rerun 2
    """
    from ganbench.cli.verify import Options
    from ganbench.cli.verify import verify as verify_folder

    sys.exit(verify_folder(results, Options(records_only, rerun, seed, device, executor, jobs)))
