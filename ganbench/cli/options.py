"""Options that commands share: lists of names, the results folder, what is trained, and where."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ganbench.cli.config import read_config
from ganbench.results.presets import PRESETS
from ganbench.results.store import DEFAULT_FOLDER, EARLIER_FOLDER
from ganbench.utils.console import say
from ganbench.utils.files import with_remedy

MOST_THREADS = 1024
_PATH_OPTIONS = re.compile(r"(@[a-z-]+(=[^@/\\]*)?)+$")


class Positive(click.FloatRange):
    """A number above 0, and finite."""

    def __init__(self, low: float = 0.0, high: float = 1e9) -> None:
        super().__init__(low, high, min_open=low == 0.0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number", param, ctx)
        return number


def _refuse_empty(kind: click.ParamType, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> None:
    """Refuse a path that is "", which would be the current folder: what an unset variable of a shell gives."""
    if not str(value):
        kind.fail("it is empty: name a path, or . for this folder", param, ctx)


class Names(click.ParamType):
    """Names by comma; the option may also be repeated. In ``folder:a,b`` the comma is the path's if that exists."""

    name = "NAMES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        names = []
        while parts:
            ends = range(len(parts), 0, -1) if ":" in parts[0] else [1]
            end = next((end for end in ends if _is_there(",".join(parts[:end]))), 1)
            names.append(",".join(parts[:end]).strip())
            del parts[:end]
        return tuple(name for name in names if name)


def _is_there(name: str) -> bool:
    """Whether the path in ``folder:PATH@option`` exists."""
    path = _PATH_OPTIONS.sub("", name.partition(":")[2].strip())
    return os.path.exists(os.path.expanduser(path))


def _joined(ctx: click.Context, param: click.Parameter, values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in values for name in names))


def _repeated(ctx: click.Context, param: click.Parameter, values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(name for names in values for name in names)


def names_option(*flags: str, repeats: bool = False, **kwargs: Any) -> Any:
    """Names between commas, in one option or several; each counts once unless ``repeats`` have a meaning."""
    return click.option(*flags, type=Names(), multiple=True, callback=_repeated if repeats else _joined, **kwargs)


class Folder(click.ParamType):
    """A folder that is there or can be made: nothing in its path is a file."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        _refuse_empty(self, value, param, ctx)
        path = Path(value)
        try:
            found = next(place for place in (path, *path.parents) if place.exists())
            if not found.is_dir():
                self.fail(f"{found} is a file, not a folder: name another folder, or move the file away", param, ctx)
        except OSError as reason:  # too long, or nobody may look there
            self.fail(f"{path}: {with_remedy(reason)}", param, ctx)
        return path


class NewFile(click.Path):
    """A file that can be written: the folder that it is in is there."""

    def __init__(self, dir_okay: bool = False) -> None:
        super().__init__(dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse_empty(self, value, param, ctx)
        try:
            if not (folder := Path(value).parent).is_dir():
                self.fail(f"there is no folder {folder}: make it first, or name another file", param, ctx)
            Path(value).exists()
        except OSError as reason:
            self.fail(f"{value}: {with_remedy(reason)}", param, ctx)
        return super().convert(value, param, ctx)


def results_option(help: str, default: str = DEFAULT_FOLDER) -> Any:
    return click.option(
        "--results", type=Folder(), default=default, show_default=True, callback=_earlier_default, help=help
    )


def _earlier_default(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
    """The folder that was the default once, if nobody names one, the default is not there, and that one has trials."""
    if ctx.get_parameter_source("results") is not ParameterSource.DEFAULT or path != Path(DEFAULT_FOLDER):
        return path
    earlier = Path(EARLIER_FOLDER)
    if path.exists() or not any(earlier.glob("*/*/seed-*")):
        return path
    say(f"using the trials in {earlier}, the default of earlier versions: there is no {path} yet", sys.stderr)
    return earlier


def request_options(command: Any) -> Any:
    """The options of every command that trains: what is trained, and under which protocol."""
    for option in reversed(_REQUEST):
        command = option(command)
    return command


def engine_options(command: Any) -> Any:
    """The options of every command that trains: where, how long, and who watches."""
    for option in reversed(_ENGINE):
        command = option(command)
    return command


def plugin_options(command: Any) -> Any:
    """``--plugin-path`` and ``--no-plugin``: for every command that imports plugins."""
    for option in reversed(_PLUGINS):
        command = option(command)
    return command


def _plugins_from(variable: str) -> Any:
    """A callback that adds to a list in the environment, for as long as the command runs."""

    def add(ctx: click.Context, param: click.Parameter, values: tuple[Any, ...]) -> None:
        from ganbench.discovery.entry_points import BLOCKED, plugin_files

        if not values:
            return
        before = os.environ.get(variable)
        if variable == BLOCKED:
            added, between = ",".join(_joined(ctx, param, values)), ","
        else:
            added, between = plugin_files(values), os.pathsep
        os.environ[variable] = f"{before}{between}{added}" if before else added
        ctx.call_on_close(lambda: os.environ.pop(variable) if before is None else os.environ.update({variable: before}))

    return add


def threads_option(help: str) -> Any:
    return click.option("--threads", type=click.IntRange(1, MOST_THREADS), default=1, show_default=True, help=help)


def weights_option() -> Any:
    return click.option(
        "--weights",
        type=click.Path(exists=True, dir_okay=False, resolve_path=True),
        help="File of the extractor's weights, .safetensors or .pth; it is then called NAME@HASH.",
    )


_PLUGINS = [
    click.option(
        "--plugin-path",
        multiple=True,
        type=click.Path(),
        metavar="FILE.py",
        expose_value=False,
        callback=_plugins_from("GANBENCH_PLUGIN_PATH"),
        help="A plugin in a file, without installing it; its hash goes into the record. Repeatable.",
    ),
    click.option(
        "--no-plugin",
        type=Names(),
        multiple=True,
        expose_value=False,
        callback=_plugins_from("GANBENCH_NO_PLUGIN"),
        help="Entry points or distributions that are not even imported.",
    ),
]


def _use_preset(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    """Make the options that a preset stands for the defaults of the others; a file of options and the user win."""
    if name is not None:
        preset = PRESETS[name]
        values = preset.fixed | preset.suggested
        texts = {key: [*value] if isinstance(value, tuple) else str(value) for key, value in values.items()}
        texts.setdefault("datasets", [])  # of several that it suits, one is to be named
        ctx.default_map = {**texts, **(ctx.default_map or {})}
    return name


_REQUEST = [
    names_option("--plugins", "-p", required=True, repeats=True, help="Variants to train, such as dcgan,vanilla."),
    names_option(
        "--datasets",
        "-d",
        default=["digits"],
        help="What they learn: digits, fashion-mnist, ring8, ...  [default: digits]",
    ),
    click.option(
        "--images", type=click.IntRange(1), help="Budget: real images each trial sees.  [default: the dataset's own]"
    ),
    click.option(
        "--evaluations",
        type=click.IntRange(1, 5000),
        default=20,
        show_default=True,
        help="Scored points of a training; they never change the weights.",
    ),
    click.option(
        "--batch-size", type=click.IntRange(2), default=64, show_default=True, help="Real images a training step sees."
    ),
    click.option(
        "--samples",
        type=click.IntRange(6),
        help="Samples scored at the end.  [default: as many as real ones of --reference, at most 10,000]",
    ),
    click.option(
        "--reference",
        "split",
        type=click.Choice(["test", "train", "validation"]),
        default="test",
        show_default=True,
        help="Split that samples are compared with: test, the held-out one; train, as most papers have it; or "
        "validation, a fifth of the training split that is then not trained on, to choose settings by.",
    ),
    click.option(
        "--curve-samples",
        type=click.IntRange(6),
        help="Samples scored at evaluations before the last, for curves and verdicts.  "
        "[default: a quarter for images if that is 20 a feature, else all]",
    ),
    names_option("--metrics", "-m", help="Metrics to compute.  [default: all that suit the dataset]"),
    click.option(
        "--extractor", help="What turns images into features.  [default: the classifier trained on the dataset]"
    ),
    weights_option(),
    click.option(
        "--protocol",
        type=click.Choice([*PRESETS]),
        is_eager=True,
        callback=_use_preset,
        help="A published protocol by one word: sets --datasets, --extractor, --samples and --reference, and suggests "
        "--images, --curve-samples and --metrics. "
        f"{'. '.join(f'{name}: {preset.about}' for name, preset in PRESETS.items())}.",
    ),
]
_ENGINE = [
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda (all visible GPUs), cuda:1 (that one) or mps. Each trial has a GPU to itself.",
    ),
    click.option(
        "--trials-per-gpu",
        type=click.IntRange(1, 64),
        metavar="N",
        help="Trials that share a GPU of this machine, each with 1/N of its memory.  [default: 1]",
    ),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "bf16"]),
        default="fp32",
        show_default=True,
        help="bf16: products in bfloat16, for CPUs with AMX and GPUs; another protocol, never chosen by itself.",
    ),
    threads_option("Threads of a trial. They change the last bits of the numbers."),
    click.option(
        "--jobs",
        "-j",
        type=click.IntRange(1),
        help="Trials at a time; never changes a score.  [default: one a GPU, or cores / threads]",
    ),
    click.option(
        "--executor",
        default="local",
        show_default=True,
        help="Engine: local (a process a trial), ray or slurm (a cluster), inline (this process, for debuggers).",
    ),
    click.option("--address", help="Of the Ray cluster: auto, HOST:PORT, or local to start one here.  [default: auto]"),
    click.option(
        "--cpus-per-trial",
        type=Positive(),
        metavar="N",
        help="Cores that a cluster sets aside for a trial.  [default: --threads]",
    ),
    click.option(
        "--gpus-per-trial",
        type=click.FloatRange(0, 1),
        metavar="N",
        help="GPUs that a cluster sets aside for a trial; 0.25 puts four on one, 0 is the CPU.  [default: 0]",
    ),
    click.option(
        "--storage",
        type=Folder(),
        help="Folder that all machines see, where running trials write if --results is not one.",
    ),
    click.option(
        "--executor-option",
        "executor_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="For the engine alone, such as sbatch's partition=gpu. Repeatable.",
    ),
    click.option(
        "--timeout",
        type=Positive(),
        metavar="SECONDS",
        help="End a trial that runs longer; it counts as failed.",
    ),
    click.option(
        "--memory",
        type=Positive(),
        metavar="GB",
        help="End a trial whose processes hold more RAM; it counts as failed. One at rest holds 0.5; what CUDA holds "
        "of it, and a GPU's own memory, do not count.",
    ),
    click.option("--retry-failed", is_flag=True, help="Run failed trials again; without it they are kept."),
    *_PLUGINS,
    names_option("--observe", help="Plugins that may watch the run, such as a logger."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="VARIANT.KEY=VALUE",
        help="A hyperparameter, such as dcgan.lr=1e-4. Repeatable. For rows side by side, beside one of the defaults, "
        "name the variant twice, or give a grid: 'dcgan.lr=1e-4|5e-4'.",
    ),
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=read_config,
        help="TOML file of these options; the command line wins.",
    ),
]
