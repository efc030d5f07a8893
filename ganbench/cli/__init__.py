"""The command line: one file a command, with its options and what it does.

What several commands share stands in ``options`` and ``config``. Heavy modules load inside functions: help is fast.
"""

from __future__ import annotations

import sys

import click

from ganbench import __version__
from ganbench.cli import (
    check,
    compare,
    film,
    merge,
    new,
    report,
    rescore,
    run,
    sample,
    score,
    selftest,
    show,
    tune,
    verify,
    watch,
)
from ganbench.cli import list as list_
from ganbench.utils.errors import (
    EXIT_COMPLETED,
    EXIT_DAMAGED,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    UsageError,
    printable,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="ganbench")
def cli() -> None:
    """Benchmark GANs: train plugins under one protocol, score them, and rank them with honest statistics.

    \b
    Start here:
      ganbench run --plugins dcgan,vanilla     about a minute on two cores, no GPU
      ganbench list                            what is installed
      ganbench new my-gan                      a package for your own; ganbench check my-gan tries it
      ganbench compare before after            better, worse or no evidence

    \b
    Exit codes: 0 all trials completed, 1 some trial failed, 2 wrong usage,
    3 the results folder is damaged or rows may not be compared, 130 interrupted.
    """


for module in (
    run,
    list_,
    report,
    new,
    check,
    show,
    sample,
    film,
    compare,
    merge,
    score,
    rescore,
    tune,
    selftest,
    verify,
    watch,
):
    cli.add_command(module.command)


def main() -> None:
    """The console script."""
    from ganbench.utils.streams import exit_code, guard

    screens = guard()
    sys.exit(exit_code(screens, _run(), EXIT_DAMAGED))


def _run() -> int:
    """Run the command that was asked for; return its exit code."""
    from ganbench.utils import failpoints
    from ganbench.utils.files import StoreError, with_remedy

    try:
        failpoints.arm()
        return int(cli.main(prog_name="ganbench", standalone_mode=False) or EXIT_COMPLETED)
    except SystemExit as end:  # a text is a message, as Python has it
        if isinstance(end.code, str):
            click.echo(end.code, err=True)
            return EXIT_FAILED
        return end.code or EXIT_COMPLETED
    except click.ClickException as reason:
        reason.message = "\n".join(map(printable, reason.message.split("\n")))  # type: ignore[misc]
        reason.show()
        return reason.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("ganbench: interrupted", err=True)
        return EXIT_INTERRUPTED
    except UsageError as reason:
        click.echo(printable(f"ganbench: {reason}"), err=True)
        return EXIT_USAGE
    except StoreError as reason:
        click.echo(printable(f"ganbench: {reason}"), err=True)
        return EXIT_DAMAGED
    except PermissionError as reason:
        click.echo(printable(f"ganbench: {reason.filename or 'a file'}: {with_remedy(reason)}"), err=True)
        return EXIT_DAMAGED
