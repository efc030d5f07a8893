"""``--config``: a TOML file of options, whose values are read as those of the command line are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganbench.utils.names import hint

MOST_CONFIG = 1 << 15  # bytes of a file of options


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Take the options that a ``--config`` file gives as defaults, so that those of the command line come first."""
    if path is None:
        return
    import tomllib

    try:
        with open(path, "rb") as file:  # also a pipe, such as <(...) of a shell
            text = file.read(MOST_CONFIG + 1)
        if len(text) > MOST_CONFIG:
            raise ValueError(f"it has more than {MOST_CONFIG:,} bytes")
        content = tomllib.loads(text.decode())
    except RecursionError:
        raise click.BadParameter(f"{path} cannot be read: it is nested too deeply") from None
    except (OSError, ValueError) as reason:
        raise click.BadParameter(f"{path} cannot be read: {reason}") from None
    params = (param for param in ctx.command.params if param.name != "config")
    known = {flag.removeprefix("--"): param for param in params for flag in param.opts if flag.startswith("--")}
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        option = known.get(key.replace("_", "-"))
        if option is not None and option.name in defaults:
            raise click.BadParameter(f"{path}: {key} is set twice")
        if option is None or option.name is None:
            raise click.BadParameter(f"{path}: there is no setting {key!r}; {hint(key, sorted(known))}")
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
