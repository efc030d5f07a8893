"""Options that commands share: lists of names, the results folder, and a TOML file of defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


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


def results_option(help: str) -> Any:
    return click.option(
        "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help=help
    )


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
        content = tomllib.loads(path.read_bytes().decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise click.BadParameter(f"{path} cannot be read: {reason}") from None
    known = {flag.removeprefix("--"): p for p in ctx.command.params for flag in p.opts if p.name != "config"}
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        option = known.get(key.replace("_", "-"))
        if option is None or option.name is None:
            near = difflib.get_close_matches(key, known, n=2) or sorted(known)
            raise click.BadParameter(f"{path}: there is no setting {key!r}; there are {', '.join(near)}")
        defaults[option.name] = (value if isinstance(value, list) else [value]) if option.multiple else value
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
