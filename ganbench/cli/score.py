"""``ganbench score``: score samples that exist already against real ones, without a trial."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganbench import __version__
from ganbench.cli.options import NewFile, names_option, plugin_options, results_option, threads_option, weights_option
from ganbench.utils.console import plain, say
from ganbench.utils.errors import UsageError
from ganbench.utils.files import write_output

if TYPE_CHECKING:
    from ganbench.scoring.score import Scores


@click.command("score")
@click.option("--real", required=True, metavar="WHAT", help="Real samples: a dataset, a folder, an archive, an array.")
@click.option("--fake", required=True, metavar="WHAT", help="Samples to score: the same, or a finished trial.")
@click.option("--extractor", help="What turns images into features.  [default: the dataset's, else inception-v3]")
@weights_option()
@click.option("--fast", is_flag=True, help="The extractor in faster arithmetic; named in the label.")
@names_option("--metrics", "-m", help="Metrics to compute.  [default: fid,kid,is,precision,recall,density,coverage]")
@click.option("--n", type=click.IntRange(2), help="Samples of each side.  [default: all; of a trial, as it was scored]")
@click.option("--seed", type=click.IntRange(0), help="Which ones, and a trial's latents.  [default: the trial's own]")
@click.option("--size", type=click.IntRange(1, 8192), help="Resize images in folders and archives to N x N pixels.")
@click.option(
    "--decode",
    type=click.Choice(["shown", "torch-fidelity"]),
    default="shown",
    show_default=True,
    help="How images in files are read. shown: as a viewer shows them, upright by EXIF, transparency on white. "
    "torch-fidelity: neither, for a number that must equal torch-fidelity's.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@threads_option("They change the last bits.")
@click.option("--cache", is_flag=True, help="Keep features on this machine, by the hash of the pixels.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--out", type=NewFile(), help="Write the same JSON into a file.")
@plugin_options
@results_option("Folder in which a trial's id is looked up.")
def command(
    *,
    real: str,
    fake: str,
    n: int | None,
    seed: int | None,
    size: int | None,
    decode: str,
    results: Path,
    weights: str | None,
    as_json: bool,
    out: Path | None,
    **rest: Any,
) -> None:
    """Score samples that exist already against real ones.

    WHAT is a folder of images, a .zip of them, a .npz, .npy or .safetensors of samples, the folder or the id of
    a finished trial, or a dataset: its held-out images, or with :train behind the name its training images.

    \b
    Examples:
      ganbench score --real photos --fake generated
      ganbench score --real digits --fake ganbench-results/digits/dcgan/seed-0-1a2b3c4d
      ganbench score --real ring8 --fake points.npy --metrics modes,high_quality
    """
    from ganbench.discovery.early_names import check_names

    extractor = [("extractor", rest["extractor"])] if rest["extractor"] else []
    check_names([*extractor, *(("metric", name) for name in rest["metrics"])])  # before what takes seconds to import

    from ganbench.scoring.samples import Request
    from ganbench.scoring.score import Options, score

    for given in (real, fake):
        if out is not None and out.exists() and Path(given).exists() and out.samefile(given):
            raise UsageError(f"--out {out} is what is to be scored: name another file, so that it is not overwritten")
    options = Options(Request(n, seed, size, decode, results), weights=Path(weights) if weights else None, **rest)
    found = score(real, fake, options)
    text = json.dumps({"ganbench": __version__, **found.as_json()}, indent=2, allow_nan=False) + "\n"
    if out is not None:
        write_output(out, text.encode())
    for note in found.notes:
        say(f"note: {note}", sys.stderr)
    sys.stdout.write(text if as_json else table(found))


def table(found: Scores) -> str:
    """One line a metric, numbers at full precision."""
    from ganbench.reporters.formatting import ARROWS  # brings pandas

    about = found.about
    lines = [["score", "metric", "value", f"{about['interval_level']:.0%} interval", "floor", "n"]]
    for one in found.scores:
        cells = [
            (one.status or "not applicable") if one.value is None else repr(one.value),
            "" if one.low is None else f"[{one.low:.5g}, {one.high:.5g}]",
            "" if one.floor is None else repr(one.floor),
        ]
        lines.append([one.label + ARROWS.get(one.direction, ""), one.name, *cells, f"{about['fake']['n']:,}"])
    how = "" if about["decode"] == "shown" else f", pictures decoded as {about['decode']} does"
    return f"{about['fake']['source']} against {about['real']['n']:,} of {about['real']['source']}{how}\n{plain(lines)}"
