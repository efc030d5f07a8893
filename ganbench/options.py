"""Options that commands share: lists of names, the results folder, and a TOML file of defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

MOST_CONFIG = 1 << 15  # bytes of a file of options


class Seconds(click.FloatRange):
    """A number of seconds above 0, and finite."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(0, 1e9, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return number


class Names(click.ParamType):
    """Names by comma; the option may also be repeated."""

    name = "NAMES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


def _joined(ctx: click.Context, param: click.Parameter, values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in values for name in names))


def names_option(*flags: str, **kwargs: Any) -> Any:
    return click.option(*flags, type=Names(), multiple=True, callback=_joined, **kwargs)


def results_option(help: str, default: str = "results") -> Any:
    return click.option(
        "--results", type=click.Path(path_type=Path), default=Path(default), show_default=True, help=help
    )


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
        import os

        from ganbench.installed import BLOCKED, plugin_files

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


def weights_option() -> Any:
    return click.option(
        "--weights",
        type=click.Path(exists=True, dir_okay=False, resolve_path=True),
        help="File of the extractor's weights, .safetensors or .pth; it is then called NAME@HASH.",
    )


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    import difflib
    import tomllib

    try:
        with open(path, "rb") as file:
            text = file.read(MOST_CONFIG + 1)
        if len(text) > MOST_CONFIG:
            raise ValueError(f"it has more than {MOST_CONFIG:,} bytes")
        content = tomllib.loads(text.decode())
    except RecursionError:
        raise click.BadParameter(f"{path} cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as reason:
        raise click.BadParameter(f"{path} cannot be read: {reason}") from None
    known = {flag.removeprefix("--"): p for p in ctx.command.params for flag in p.opts if p.name != "config"}
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        option = known.get(key.replace("_", "-"))
        if option is None or option.name is None:
            near = difflib.get_close_matches(key, known, n=2) or sorted(known)
            raise click.BadParameter(f"{path}: there is no setting {key!r}; there are {', '.join(near)}")
        values = value if isinstance(value, list) else [value]
        is_flag = isinstance(option, click.Option) and option.is_flag
        if not all(type(one) is bool if is_flag else type(one) in (str, int, float) for one in values):
            wanted = "true or false" if is_flag else "a text or a number"
            raise click.BadParameter(f"{path}: {key} is not {wanted}{', or a list of them' * option.multiple}")
        if any("\0" in str(one) for one in values):
            raise click.BadParameter(f"{path}: {key} holds a character that no text may hold")
        if len(values) != 1 and not option.multiple:
            raise click.BadParameter(f"{path}: {key} takes one value")
        # As texts, so that they are read as those of the command line are.
        texts = values if is_flag else [str(one) for one in values]
        defaults[option.name] = texts if option.multiple else texts[0]
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


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
_REQUEST = [
    names_option("--plugins", "-p", required=True, help="Variants to train, such as dcgan,vanilla."),
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
        type=click.IntRange(2),
        help="Samples scored at an evaluation.  [default: as many as held-out images, at most 10,000]",
    ),
    names_option("--metrics", "-m", help="Metrics to compute.  [default: all that suit the dataset]"),
    click.option(
        "--extractor", help="What turns images into features.  [default: the classifier trained on the dataset]"
    ),
    weights_option(),
]
_ENGINE = [
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Threads of a trial. They change the last bits of the numbers.",
    ),
    click.option(
        "--jobs",
        "-j",
        type=click.IntRange(1),
        help="Trials at a time; never changes a score.  [default: cores / threads]",
    ),
    click.option(
        "--executor",
        default="local",
        show_default=True,
        help="Engine: local (a process a trial) or inline (this process, for debuggers).",
    ),
    click.option(
        "--timeout",
        type=Seconds(),
        metavar="SECONDS",
        help="End a trial that runs longer; it counts as failed.",
    ),
    click.option(
        "--memory",
        type=click.FloatRange(0, min_open=True),
        metavar="GB",
        help="End a trial whose processes hold more RAM; it counts as failed. One at rest holds 0.5.",
    ),
    click.option("--retry-failed", is_flag=True, help="Run failed trials again; without it they are kept."),
    *_PLUGINS,
    names_option("--observe", help="Plugins that may watch the run, such as a logger."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="VARIANT.KEY=VALUE",
        help="A hyperparameter, such as dcgan.lr=1e-4. Repeatable.",
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
