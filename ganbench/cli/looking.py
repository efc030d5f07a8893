"""The commands that look at one trial: ``ganbench show`` and ``ganbench sample``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ganbench.cli.options import plugin_options, results_option


@click.command()
@click.argument("trial", metavar="TRIAL")
@results_option("Folder in which a trial's id is looked up.")
def show(trial: str, results: Path) -> None:
    """Show one trial: status and verdict, scores, curves, hyperparameters, environment, and how to make it again.

    TRIAL is a trial's folder, or its id of eight digits as trials.csv has it. Exit code 1 if it failed or was
    interrupted, 3 if its record is damaged.

    \b
    Examples:
      ganbench show results/digits/dcgan/seed-0-1a2b3c4d
      ganbench show 1a2b3c4d
    """
    from ganbench.cli.show import show_trial

    sys.exit(show_trial(trial, results))


@click.command()
@click.argument("trial", metavar="TRIAL")
@click.option("--n", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Samples to draw.")
@click.option("--seed", type=click.IntRange(0), help="Of the latents.  [default: those that were scored]")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File: .png, a grid; .npy, an array."
)
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps.  [default: the kind that it was trained on]")
@click.option("--executor", default="local", show_default=True, help="Engine: local or inline.")
@results_option("Folder in which a trial's id is looked up.")
@plugin_options
def sample(trial: str, n: int, seed: int | None, out: Path, device: str | None, executor: str, results: Path) -> None:
    """Draw samples from a finished trial's stored state.

    Without --seed the latents are those of its evaluations: the first samples are the ones that were scored and
    stand in its picture.

    \b
    Examples:
      ganbench sample results/digits/dcgan/seed-0-1a2b3c4d --n 64 --out grid.png
      ganbench sample 1a2b3c4d --n 1000 --seed 7 --out samples.npy
    """
    from ganbench.cli.sample import sample as sample_trial

    sys.exit(sample_trial(trial, results, n, seed, out, device, executor))
