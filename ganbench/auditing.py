"""The commands that put a results folder, or the file system under it, to the test: ``ganbench selftest`` and ``verify``."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.option("--kills", type=click.IntRange(1), default=50, show_default=True, help="How often to kill.")
@click.option(
    "--results", type=click.Path(file_okay=False, path_type=Path), help="Folder to do it in.  [default: a temporary one]"
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
    from ganbench.selftest import selftest as run_selftest

    sys.exit(run_selftest(kills, results, seed))
