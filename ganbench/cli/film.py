"""``ganbench film``: the frames of trainings as an animated picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ganbench.cli.options import NewFile, Positive, results_option
from ganbench.results.records import DamagedRecord, read
from ganbench.results.store import locate
from ganbench.utils.console import say
from ganbench.utils.errors import UsageError
from ganbench.utils.files import write_output

MOST_TRIALS = 8


@click.command("film")
@click.argument("trials", metavar="TRIAL...", nargs=-1, required=True)
@click.option("--out", type=NewFile(), required=True, metavar="FILE", help="film.webp, film.gif, or film.png (APNG).")
@click.option("--metric", help="Whose curve stands below the samples.  [default: the dataset's primary metric]")
@click.option("--rate", type=Positive(0.1, 50), default=5.0, show_default=True, help="Evaluations a second.")
@results_option("Folder in which a trial's id is looked up.")
def command(trials: tuple[str, ...], out: Path, metric: str | None, rate: float, results: Path) -> None:
    """Write the film of a training: the same latents at every evaluation, and a metric's curve.

    TRIAL is a trial's folder, or its id of eight digits; several stand side by side, each over its own training, with
    curves on one scale where dataset and metric are the same. Of points the circles are the true modes, and the
    background says what the discriminator takes for real (blue) and for fake (orange). The red line is where the
    training became unstable.

    \b
    Examples:
      ganbench film 1a2b3c4d --out film.webp
      ganbench film 1a2b3c4d 5e6f7a8b --out collapse-and-cure.gif --rate 4
    """
    sys.exit(write_film(trials, results, out, metric, rate))


def write_film(trials: tuple[str, ...], results: Path, out: Path, metric: str | None, rate: float) -> int:
    """Write the film of the trials that texts name; return the exit code.

    Raises:
        UsageError: one is no trial, is damaged, left no frames, or has no such metric; or the file's ending is unknown.
    """
    from ganbench.analysis.ranking import trials_table
    from ganbench.reporters import film
    from ganbench.reporters.trials import Trial

    suffix = out.suffix.lower()
    if suffix not in film.SUFFIXES:
        raise UsageError(f"--out {out}: a film is a .webp, a .gif or, as APNG, a .png")
    if len(trials) > MOST_TRIALS:
        raise UsageError(f"{len(trials)} trials: a film shows at most {MOST_TRIALS} side by side")
    panels = []
    for text in trials:
        folder = locate(text, results)
        try:
            record = read(folder / "record.json")
            about: dict[Any, Any] = trials_table([record]).iloc[0].to_dict()
            panels.append(film.panel(Trial(about, record, folder, {}), folder, metric))
        except FileNotFoundError:
            raise UsageError(f"{folder} has no record: it is not finished; ganbench run goes on with it") from None
        except DamagedRecord as reason:
            raise UsageError(f"{folder}: damaged: {reason}; ganbench run trains it again") from reason
        except ValueError as reason:
            raise UsageError(f"{folder}: {reason}") from reason
    content = film.film(panels, suffix, rate)
    write_output(out, content)
    frames = max(len(panel.frames) for panel in panels)
    say(f"{frames} frames of {len(panels)} trial{'s' * (len(panels) > 1)}, {len(content):,} bytes: {out}")
    return 0
