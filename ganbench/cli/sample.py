"""``ganbench sample``: draw from a trial's stored state into a file or a folder, in a process of its own."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganbench.cli.options import Folder, NewFile, plugin_options, results_option
from ganbench.executors import Job, on_this_machine
from ganbench.executors.running import End, run_one_job
from ganbench.results.store import locate
from ganbench.utils.console import say
from ganbench.utils.errors import UsageError
from ganbench.utils.files import make_folder, store_errors, write_output

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = (".png", ".npy")


class Out(click.ParamType):
    """A file that can be written or, with a slash at its end or where it is one, a folder; as the user wrote it."""

    name = "file or folder/"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        (Folder() if _is_folder(value) else NewFile()).convert(value, param, ctx)
        return str(value)


def _is_folder(out: str | Path) -> bool:
    return str(out).endswith(("/", os.sep)) or os.path.isdir(out)


@click.command("sample")
@click.argument("trial", metavar="TRIAL")
@click.option("--n", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Samples to draw.")
@click.option("--seed", type=click.IntRange(0), help="Of the latents.  [default: those that were scored]")
@click.option(
    "--out",
    type=Out(),
    required=True,
    metavar="FILE|FOLDER/",
    help="grid.png, one picture of all; x.npy, an array; FOLDER/, a PNG a sample: 00000.png and so on.",
)
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps.  [default: the kind that it was trained on]")
@click.option("--executor", default="local", show_default=True, help="Engine: local or inline.")
@results_option("Folder in which a trial's id is looked up.")
@plugin_options
def command(trial: str, n: int, seed: int | None, out: str, device: str | None, executor: str, results: Path) -> None:
    """Draw samples from a finished trial's stored state.

    Without --seed the latents are those of its evaluations: the first samples are the ones that were scored and
    stand in its picture. ganbench score takes the folder and the array, and gives what it gives of the trial itself.

    \b
    Examples:
      ganbench sample ganbench-results/digits/dcgan/seed-0-1a2b3c4d --n 64 --out grid.png
      ganbench sample 1a2b3c4d --n 1000 --out samples/
      ganbench sample 1a2b3c4d --n 1000 --seed 7 --out samples.npy
    """
    sys.exit(sample(trial, results, n, seed, out, device, executor))


def sample(
    text: str, results: Path, n: int, seed: int | None, out: str | Path, device: str | None, executor: str
) -> int:
    """Write ``n`` samples of the trial that ``text`` names to ``out``; return the exit code.

    Raises:
        UsageError: there is no such trial, it left no state, or its variant draws no samples.
    """
    one_each, out = _is_folder(out), Path(out)
    if one_each and out.exists() and any(out.iterdir()):
        raise UsageError(f"--out {out}: the folder is not empty; name a new one, so that nothing is mixed")
    suffix = ".npy" if one_each else out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"--out {out}: give it the ending .png for a grid of images or .npy for an array, or a slash for a folder "
            "with a picture a sample"
        )
    folder = locate(text, results)
    payload = {"kind": "sample", "folder": str(folder.absolute()), "n": n, "seed": seed, "suffix": suffix}
    with on_this_machine(executor, 1) as engine:
        ended = run_one_job(engine, Job({**payload, "device": device, "threads": 1}))
    if not ended.returned:
        if ended.how is End.USAGE:  # it names the folder
            raise UsageError(ended.reason)
        why = "its variant draws no samples: " if ended.lost else ""
        raise UsageError(f"{folder}: {why}{ended.reason}")
    content, shape = base64.b64decode(ended.result["content"]), tuple(ended.result["shape"])
    if one_each:
        import numpy as np

        if len(shape) != 4 or shape[1] not in (1, 3):
            raise UsageError(f"{folder}: samples of shape {shape[1:]} are no pictures: give --out a .npy file")
        _write_pictures(out, np.load(io.BytesIO(content), allow_pickle=False))
    else:
        write_output(out, content)
    say(f"{n} samples of {folder.name}, {shape}: {out}{os.sep * one_each}")
    return 0


def _write_pictures(folder: Path, images: np.ndarray) -> None:
    """Write ``00000.png`` and so on, in the order of the samples: all of them, or none where one cannot be written.

    Args:
        images: uint8 ``(n, 1 or 3, height, width)``; those of one channel are grey pictures.
    """
    from PIL import Image

    make_folder(folder)
    written: list[Path] = []
    try:
        with store_errors("write into", folder):
            for i, image in enumerate(images):
                written.append(folder / f"{i:05d}.png")
                picture = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
                Image.fromarray(picture).save(written[-1], format="PNG")
    except BaseException:
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise
