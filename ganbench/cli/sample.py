"""``ganbench sample``: draw from a trial's stored state into a file, in a process of its own."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import click

from ganbench.cli.options import plugin_options, results_option
from ganbench.executors import Job, on_this_machine
from ganbench.executors.running import run_one_job
from ganbench.results.store import locate
from ganbench.utils.console import say
from ganbench.utils.errors import UsageError
from ganbench.utils.files import write_atomic

SUFFIXES = (".png", ".npy")


@click.command("sample")
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
def command(trial: str, n: int, seed: int | None, out: Path, device: str | None, executor: str, results: Path) -> None:
    """Draw samples from a finished trial's stored state.

    Without --seed the latents are those of its evaluations: the first samples are the ones that were scored and
    stand in its picture.

    \b
    Examples:
      ganbench sample results/digits/dcgan/seed-0-1a2b3c4d --n 64 --out grid.png
      ganbench sample 1a2b3c4d --n 1000 --seed 7 --out samples.npy
    """
    sys.exit(sample(trial, results, n, seed, out, device, executor))


def sample(text: str, results: Path, n: int, seed: int | None, out: Path, device: str | None, executor: str) -> int:
    """Write ``n`` samples of the trial that ``text`` names to ``out``; return the exit code.

    Raises:
        UsageError: there is no such trial, it left no state, or its variant draws no samples.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: give it the ending .png for a grid of images, or .npy for an array")
    folder = locate(text, results)
    payload = {"kind": "sample", "folder": str(folder.absolute()), "n": n, "seed": seed, "suffix": suffix}
    with on_this_machine(executor, 1) as engine:
        ended = run_one_job(engine, Job({**payload, "device": device, "threads": 1}))
    if not ended.returned:
        why = "its variant draws no samples: " if ended.lost else ""
        raise UsageError(f"{folder}: {why}{ended.reason}")
    write_atomic(out, base64.b64decode(ended.result["content"]))
    say(f"{n} samples of {folder.name}, {tuple(ended.result['shape'])}: {out}")
    return 0
