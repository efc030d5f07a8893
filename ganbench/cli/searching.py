"""The command that searches hyperparameters: ``ganbench tune``."""

from __future__ import annotations

import sys
from typing import Any

import click

from ganbench.cli.options import engine_options, request_options, results_option


@click.command()
@request_options
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Configurations of each variant, its defaults among them.",
)
@click.option(
    "--sampler",
    type=click.Choice(["random", "tpe"]),
    default="random",
    show_default=True,
    help="random: uniform over the declared ranges; tpe: learns from the scores, in rounds of 10.",
)
@click.option(
    "--seeds",
    multiple=True,
    metavar="N|LIST",
    help="Final seeds, for the best configuration and the defaults.  [default: 5]",
)
@click.option(
    "--search-seed",
    type=click.IntRange(0, 2**62),
    default=1000,
    show_default=True,
    metavar="N",
    help="Decides the configurations; number i is trained with seed N + i.",
)
@engine_options
@results_option("Folder for the search, the final trials and the tables.", "tuning")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and stop.")
def tune(**options: Any) -> None:
    """Search hyperparameters: the same budget for every variant, the best one on fresh seeds.

    Each variant gets the same number of configurations from the ranges that its author declares (every bool and choice
    too), its defaults always among them; each is trained once. What --set names is fixed, not searched. The best one
    and the defaults are then trained over seeds that the search has not seen. A failed trial counts as a constant at
    the real mean; the exit code is 1 only if a final trial failed.

    The folder gets search/ and final/, two ordinary results folders, and tuning.csv (every configuration),
    tuning_curve.csv (expected best score of every budget) and tuning.md. The same command again continues, with more
    --trials too. Needs Optuna: pip install 'ganbench[tune]'.

    \b
    Examples:
      ganbench tune --plugins dcgan,vanilla --trials 100
      ganbench tune -p vanilla -d ring8 --trials 20 --images 64000 --seeds 10
      ganbench tune -p dcgan --set dcgan.width=32 --sampler tpe --results tuned-dcgan
    """
    from ganbench.cli.tune import run_tune

    sys.exit(run_tune(**options))
