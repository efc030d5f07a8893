"""``ganbench run``: train variants on datasets, score them, and rank them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganbench.cli.options import engine_options, request_options, results_option
from ganbench.cli.watch import live_page
from ganbench.reporters import DEFAULT
from ganbench.runner.planning import Request, parse_seeds, parse_settings
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED

if TYPE_CHECKING:
    from ganbench.results.store import Contents
    from ganbench.runner.session import Session


@click.command("run")
@request_options
@click.option(
    "--seeds",
    multiple=True,
    metavar="N|LIST",
    help="5 is seeds 0 to 4; '7,' is seed 7; 3,7 and 10-19 are lists.  [default: 5]",
)
@click.option(
    "--engine",
    type=click.Choice(["serial", "seeds"]),
    default="serial",
    show_default=True,
    help="seeds: all seeds of a variant in one computation, for small networks; another protocol.",
)
@engine_options
@results_option("Folder for records and tables.")
@click.option("--live", is_flag=True, help="Show it in the browser while it runs: ganbench watch beside it.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Build every network once, say what would be trained, and stop. Nothing is written or downloaded.",
)
def command(
    *,
    plugins: tuple[str, ...],
    seeds: tuple[str, ...],
    settings: tuple[str, ...],
    metrics: tuple[str, ...],
    results: Path,
    live: bool,
    dry_run: bool,
    **rest: Any,
) -> None:
    """Train variants on datasets, score them, and rank them.

    Every trial (a variant, a dataset, a seed) trains on the same number of real images, in a process of
    its own, and leaves a folder with its record, history and sample pictures. The same command again
    continues: finished trials are kept, interrupted ones go on where they were.

    \b
    Examples:
      ganbench run --plugins dcgan,vanilla
      ganbench run -p dcgan -d fashion-mnist --seeds 3 --set dcgan.lr=5e-4
      ganbench run -p vanilla -d ring8,grid25 --seeds 10-19 --results rings
      ganbench run -p dcgan --protocol paper-cifar10 --device cuda
    """
    from ganbench.runner.early import check_request

    options = {name: rest.pop(name) for name in [*rest] if name not in Request.__dataclass_fields__}
    request = Request(
        plugins=plugins,
        seeds=parse_seeds(seeds),
        settings=parse_settings(settings, plugins),
        metrics=metrics or None,
        **rest,
    )

    notes = check_request(request, options["executor"])  # before what takes seconds to import

    from ganbench.reporters.report import write_reports
    from ganbench.reporters.terminal import show, summarise
    from ganbench.runner.preview import preview
    from ganbench.runner.session import EngineOptions, run_session

    engine = EngineOptions.pop_from(options)

    def work(session: Session) -> Callable[[], int]:
        for text in notes:
            session.screen.note(text)
        planned = session.plan(request, prepare=not dry_run)
        store = engine.store(results)
        if dry_run:
            return lambda: preview(planned, store, session.slots)
        with store.locked():
            statuses = session.sweep(store, request, planned)
            contents, report = write_reports(results, DEFAULT, engine.storage)

        def conclude() -> int:
            show(report)
            summarise(contents, results)
            return exit_code(statuses, contents)

        return conclude

    with live_page(results, engine.storage) if live else contextlib.nullcontext():
        code = run_session(engine, request.threads, work)
    sys.exit(code)


def exit_code(statuses: Mapping[str, int], contents: Contents) -> int:
    """The exit code of a finished sweep: 0 only if every trial completed and every record is sound."""
    if contents.problems:
        return EXIT_DAMAGED
    return EXIT_COMPLETED if set(statuses) <= {"completed"} else EXIT_FAILED
