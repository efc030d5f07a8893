"""``ganbench run``: train variants on datasets, score them, and rank them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ganbench.reporters import DEFAULT
from ganbench.reporters.report import write_reports
from ganbench.reporters.terminal import show, summarise
from ganbench.results.store import Contents
from ganbench.runner.planning import Request, parse_seeds, parse_settings
from ganbench.runner.preview import preview
from ganbench.runner.session import Engine, Session, conduct
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED


def run_sweep(
    *,
    plugins: tuple[str, ...],
    seeds: tuple[str, ...],
    settings: tuple[str, ...],
    metrics: tuple[str, ...],
    results: Path,
    dry_run: bool,
    **rest: Any,
) -> int:
    """Plan, run, report; return the exit code."""
    engine = Engine(**{field.name: rest.pop(field.name) for field in fields(Engine)})
    request = Request(
        plugins=plugins,
        seeds=parse_seeds(seeds),
        settings=parse_settings(settings, plugins),
        metrics=metrics or None,
        **rest,
    )

    def work(session: Session) -> Callable[[], int]:
        planned = session.plan(request)
        store = engine.store(results)
        if dry_run:
            return lambda: preview(planned.trials, store, session.engine.slots)
        with store.locked():
            statuses = session.sweep(store, request, planned)
            contents, report = write_reports(results, DEFAULT, engine.storage)

        def conclude() -> int:
            show(report)
            summarise(contents, results)
            return exit_code(statuses, contents)

        return conclude

    return conduct(engine, request.threads, work)


def exit_code(statuses: Mapping[str, int], contents: Contents) -> int:
    """Of a sweep that came to its end: 0 only where every trial completed and every record is sound."""
    if contents.problems:
        return EXIT_DAMAGED
    return EXIT_COMPLETED if set(statuses) <= {"completed"} else EXIT_FAILED
