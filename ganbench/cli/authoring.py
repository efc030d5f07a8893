"""The commands of those who write plugins: ``ganbench new`` and ``ganbench check``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ganbench.cli.options import Seconds, names_option, plugin_options

KINDS = ("variant", "dataset", "metric", "extractor", "reporter")


@click.command()
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(KINDS), default="variant", show_default=True, help="What the package will offer."
)
@click.option(
    "--into",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("."),
    help="Folder in which the package's folder is made.  [default: this one]",
)
def new(name: str, kind: str, into: Path) -> None:
    """Write a complete plugin package, ganbench-NAME, that works at once.

    The folder ganbench-NAME gets a pyproject.toml with the entry point, one small module, a test file that runs the
    conformance checks, tox.ini, a README and a CI file. Nothing is downloaded or installed. A folder that exists is
    left alone (exit code 2).

    \b
    Then:
      cd ganbench-NAME && pip install -e '.[test]' && pytest
      ganbench check NAME
    """
    from ganbench.cli.new import create

    click.echo(create(name, kind, into))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--kind", type=click.Choice(KINDS), help="Of the plugins.  [default: any]")
@names_option("--checks", help="Only these.  [default: all]")
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    default=100.0,
    show_default=True,
    help="A check that runs longer has failed.",
)
@click.option("--jobs", "-j", type=click.IntRange(1), help="Checks at a time.  [default: cores]")
@click.option(
    "--executor",
    default="local",
    show_default=True,
    help="Engine: local (a process a check) or inline (this process, for debuggers).",
)
@plugin_options
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def check(
    names: tuple[str, ...],
    kind: str | None,
    checks: tuple[str, ...],
    timeout: float,
    jobs: int | None,
    executor: str,
    as_json: bool,
) -> None:
    """Check that a plugin keeps the contract, by named checks.

    Each check runs in a process of its own: one in which the plugin hangs, or ends the process, has failed, and the
    others go on. A failed one says what was seen, why it matters and what to do. Checks that a plugin is known to fail
    stand, with reasons, in its attribute expected_failed_checks; one of them that passes is reported too. The same
    checks run under pytest with ganbench.conformance.parametrize_with_checks.

    \b
    Exit codes: 0 all passed (known failures aside), 1 some failed, 2 there is no such plugin or it cannot be imported.

    \b
    Examples:
      ganbench check my-gan
      ganbench check my-gan --plugin-path my_gan.py
      ganbench check my-gan --checks exact_resume,devices --json
    """
    from ganbench.cli.check import Options
    from ganbench.cli.check import check as run_checks

    sys.exit(run_checks(Options(names, kind, checks, timeout, jobs, executor, as_json)))
