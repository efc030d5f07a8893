"""``ganbench new``: a complete plugin package from the templates that are installed with ganbench."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import click

from ganbench.discovery.entry_points import find_installed
from ganbench.utils.errors import UsageError
from ganbench.utils.names import check_metric, check_name

# Of each kind: the hooks' group, how people call it, and a command that shows it at work.
KINDS = {
    "variant": ("ganbench", "A GAN", "ganbench run --plugins {name},dcgan --seeds 2 --images 6400"),
    "dataset": ("ganbench", "A dataset", "ganbench run --plugins vanilla --datasets {name} --seeds 2 --images 6400"),
    "metric": ("ganbench", "A metric", "ganbench run --plugins vanilla --metrics fid,{name} --seeds 2 --images 6400"),
    "extractor": (
        "ganbench",
        "A feature extractor",
        "ganbench run --plugins vanilla --extractor {name} --seeds 2 --images 6400",
    ),
    "reporter": ('"ganbench.reporters"', "A report format", "ganbench report --format {name}"),
}
# Networks that a variant may begin with: the template of each.
BASES = {"points": "variant.py", "convolutional": "convolutional.py", "residual": "residual.py"}
PREFIX = "ganbench-"


@click.command("new")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(list(KINDS)), default="variant", show_default=True, help="What the package will offer."
)
@click.option(
    "--base",
    type=click.Choice(list(BASES)),
    help="Networks that a variant begins with: fully connected ones, for points and images; DCGAN's convolutions; or "
    "residual blocks.  [default: points]",
)
@click.option(
    "--into",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("."),
    help="Folder in which the package's folder is made.  [default: this one]",
)
def command(name: str, kind: str, base: str | None, into: Path) -> None:
    """Write a complete plugin package, ganbench-NAME, that works at once.

    The folder ganbench-NAME gets a pyproject.toml with the entry point, one small module, a test file that runs the
    conformance checks, tox.ini, a README and a CI file. Nothing is downloaded or installed. A folder that exists is
    left alone (exit code 2).

    \b
    Then:
      cd ganbench-NAME && pip install -e '.[test]' && pytest
      ganbench check NAME
    """
    click.echo(create(name, kind, base, into))


def create(name: str, kind: str, base: str | None, into: Path) -> str:
    """Write the package of a plugin into a new folder; return what to do next.

    Raises UsageError for a name that cannot be used, a folder that exists, and a base of what is no variant.
    """
    if base is not None and kind != "variant":
        raise UsageError(f"--base {base} is about the networks of a variant, not of a {kind}: leave it out")
    _check(name, kind)
    package, module = f"{PREFIX}{name}", "ganbench_" + re.sub(r"[^a-z0-9]", "_", name)
    _check_module(name, module)
    folder = into / package
    if os.path.lexists(folder):
        raise UsageError(
            f"{folder} exists already, and is left as it is: choose another name, or --into another folder"
        )
    group, description, trial = KINDS[kind]
    values = {
        "name": name,
        "kind": kind,
        "package": package,
        "module": module,
        "target": f"{module}:reporter" if kind == "reporter" else module,
        "group": group,
        "cls": _class(name, kind),
        "title": re.sub(r"[-._]+", " ", name),
        "description": description,
        "try": trial.format(name=name),
    }
    paths = {
        "pyproject.toml": "pyproject.toml",
        BASES[base] if base else f"{kind}.py": f"{module}.py",
        "test.py": f"tests/test_{module}.py",
        "tox.ini": "tox.ini",
        "README.md": "README.md",
        "ci.yml": ".github/workflows/ci.yml",
        "gitignore": ".gitignore",
    }
    _write({path: _rendered(template, values) for template, path in paths.items()}, folder)
    return (
        f"{folder} is written: {module}.py is the plugin, tests/ checks it. Now:\n"
        f"  cd {shlex.quote(str(folder))}\n"
        "  pip install -e '.[test]'\n"
        "  pytest\n"
        f"  ganbench check {name}\n"
        f"  {values['try']}"
    )


def _check(name: str, kind: str) -> None:
    if name.startswith(PREFIX):
        rest = name.removeprefix(PREFIX)
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", rest):
            raise UsageError(f"{name!r} names no plugin: say what stands behind {PREFIX}, as in ganbench new my-gan")
        raise UsageError(f"the package is called {name} anyway: ganbench new {rest}")
    try:
        check_name(name)
        if not name[-1].isalnum():  # distributions cannot be called so
            raise ValueError(f"{name!r} is not a valid name: it ends with a letter or a digit")
        if kind == "metric":
            check_metric(name)
    except ValueError as reason:
        near = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
        hint = f"; {near}, perhaps?" if near != name and re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", near) else ""
        raise UsageError(f"{reason}{hint}") from None
    for point in find_installed(KINDS[kind][0].strip('"')).points.get(name, ()):
        raise UsageError(
            f"{name} is offered by {point.distribution} already, and two of one name cannot be used: choose another"
        )


def _check_module(name: str, module: str) -> None:
    """Raise UsageError where a module of that name can be imported already: Python would find only one of the two."""
    spec = find_spec(module)
    if spec is None:
        return
    owners = packages_distributions().get(module)
    if spec.origin is None and not owners:  # just a folder of that name, with or without code
        return
    owner = f"{' and '.join(sorted(set(owners)))} has" if owners else f"{spec.origin} is"
    raise UsageError(f"{name} would be the module {module}, which {owner} already: choose another name")


def _class(name: str, kind: str) -> str:
    """``my-gan`` is MyGAN; ``3d-gan``, which cannot begin the name of a class, is Variant3dGAN."""
    parts = [part for part in re.split(r"[-._]+", name) if part]
    camel = "".join("GAN" if part == "gan" else part[0].upper() + part[1:] for part in parts)
    taken = camel in ("GAN", "Range", "Reshape", "Dataset", "Metric", "Extractor", "Reporter", "None", "True", "False")
    return f"{kind.capitalize()}{camel}" if taken or not camel.isidentifier() else camel


def _rendered(template: str, values: dict[str, str]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Names and numbers, in which nothing is there to be escaped.
    loader = PackageLoader("ganbench.cli")
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=True)
    return environment.get_template(f"{template}.j2").render(values)


def _write(contents: dict[str, str], folder: Path) -> None:
    """All files or none: they are written beside the folder, which then takes its name."""
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as reason:
        raise UsageError(f"{folder.parent} cannot be written: {reason.strerror}") from None
    try:
        for path, text in contents.items():
            target = beside / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        beside.chmod(0o755)
        beside.rename(folder)
    except OSError as reason:
        shutil.rmtree(beside, ignore_errors=True)
        raise UsageError(f"{folder} cannot be written: {reason.strerror}") from None
