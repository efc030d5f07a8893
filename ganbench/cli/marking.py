"""The commands that score without training: ``ganbench score`` and ``ganbench rescore``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ganbench.cli.options import names_option, plugin_options, results_option, weights_option


@click.command()
@click.option("--real", required=True, metavar="WHAT", help="Real samples: a dataset, a folder, an archive, an array.")
@click.option("--fake", required=True, metavar="WHAT", help="Samples to score: the same, or a finished trial.")
@click.option("--extractor", help="What turns images into features.  [default: the dataset's, else inception-v3]")
@weights_option()
@click.option("--fast", is_flag=True, help="The extractor in faster arithmetic; named in the label.")
@names_option("--metrics", "-m", help="Metrics to compute.  [default: fid,kid,is,precision,recall,density,coverage]")
@click.option("--n", type=click.IntRange(2), help="Samples of each side.  [default: all; of a trial, as it was scored]")
@click.option("--seed", type=click.IntRange(0), help="Which ones, and a trial's latents.  [default: the trial's own]")
@click.option("--size", type=click.IntRange(1), help="Resize images in folders and archives to N x N pixels.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="They change the last bits.")
@click.option("--cache", is_flag=True, help="Keep features on this machine, by the hash of the pixels.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the same JSON into a file.")
@plugin_options
@results_option("Folder in which a trial's id is looked up.")
def score(**options: Any) -> None:
    """Score samples that exist already against real ones.

    WHAT is a folder of images, a .zip of them, a .npz, .npy or .safetensors of samples, the folder or the id of
    a finished trial, or a dataset: its held-out images, or with :train behind the name its training images.

    \b
    Examples:
      ganbench score --real photos --fake generated
      ganbench score --real digits --fake results/digits/dcgan/seed-0-1a2b3c4d
      ganbench score --real ring8 --fake points.npy --metrics modes,high_quality
    """
    from ganbench.cli.score import run_score

    sys.exit(run_score(**options))


@click.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@names_option("--metrics", "-m", required=True, help="Metrics to compute.")
@names_option("--plugins", "-p", help="Variants to rescore.  [default: all]")
@names_option("--datasets", "-d", help="Datasets to rescore.  [default: all]")
@weights_option()
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps.  [default: the kind that a trial was trained on]")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="They change the last bits.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Trials at a time.  [default: cores / threads]")
@click.option("--executor", default="local", show_default=True, help="Engine: local or inline.")
@plugin_options
def rescore(
    results: Path,
    metrics: tuple[str, ...],
    plugins: tuple[str, ...],
    datasets: tuple[str, ...],
    weights: str | None,
    device: str | None,
    threads: int,
    jobs: int | None,
    executor: str,
) -> None:
    """Compute metrics of finished trials in a results folder, from their stored states, without training.

    Each value is what the trial's last evaluation would have found: the same samples against the same real
    ones. It stands in rescored.json beside the unchanged record; the tables show both. The same command again
    computes only what is missing.
    """
    from ganbench.cli.rescore import Options
    from ganbench.cli.rescore import rescore as rescore_folder

    if weights:
        from ganbench.extractors.pretrained import digest, remember

        remember(Path(weights), digest(Path(weights)))
    sys.exit(rescore_folder(results, Options(metrics, plugins, datasets, device, threads), jobs, executor))
