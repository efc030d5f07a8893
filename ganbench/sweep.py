"""``ganbench run``, from options to exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ganbench import interruption
from ganbench.display import display, plain, show, summarise
from ganbench.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED, EXIT_INTERRUPTED, UsageError
from ganbench.executors import Executor, ask, load_executor
from ganbench.planning import Plan, Request, parse_seeds, parse_settings, plan
from ganbench.reporters import DEFAULT
from ganbench.reporting import write_reports
from ganbench.scheduler import Sweep
from ganbench.store import Store


def run_sweep(
    *,
    plugins: tuple[str, ...],
    datasets: tuple[str, ...],
    seeds: tuple[str, ...],
    settings: tuple[str, ...],
    jobs: int | None,
    executor: str,
    timeout: float | None,
    retry_failed: bool,
    observe: tuple[str, ...],
    results: Path,
    dry_run: bool,
    metrics: tuple[str, ...],
    **rest: Any,
) -> int:
    """Plan, run, report; return the exit code."""
    request = Request(
        plugins=plugins,
        datasets=datasets,
        seeds=parse_seeds(seeds),
        settings=parse_settings(settings, plugins),
        metrics=metrics or None,
        **rest,
    )
    interruption.drive()
    engine = load_executor(executor, jobs or max(1, _cores() // request.threads), request.threads)
    screen = display()
    finished = False
    try:
        screen.note("asking plugins and datasets (one without a shipped classifier trains it now, about a minute) ...")
        planned = plan(request, lambda payloads: ask(engine, payloads, timeout))
        for text in (*planned.notes, *(f"left out: {text}" for text in planned.left_out)):
            screen.note(text)
        if not planned.trials:
            raise UsageError("nothing to run: every variant was left out on every dataset")
        if dry_run:
            finished = True
            return _dry_run(planned, Store(results))
        observers = _Observers(observe, screen.note)
        store = Store(results)
        with store.locked():
            sweep = Sweep(
                store, engine, request, planned, screen, timeout, retry_failed, observers.evaluated, observers.finished
            )
            statuses = sweep.run()
            screen.close()
            contents, board = write_reports(results, DEFAULT)
        finished = True
    except KeyboardInterrupt:
        screen.close()
        screen.note("interrupted: nothing finished was lost; run the same command again to continue")
        return EXIT_INTERRUPTED
    finally:
        screen.close()
        _close(engine, cancel=not finished)
    show(board)
    summarise(contents, results)
    if contents.problems:
        return EXIT_DAMAGED
    return EXIT_COMPLETED if set(statuses) <= {"completed"} else EXIT_FAILED


def _dry_run(planned: Plan, store: Store) -> int:
    lines = [["trial", "images", "state"]]
    for trial in planned.trials:
        lines.append([trial.title, str(trial.spec.protocol.budget_images), store.state(trial.spec)])
    sys.stdout.write(plain(lines))
    return EXIT_COMPLETED


def _close(engine: Executor, cancel: bool) -> None:
    """End the workers; a second Ctrl-C must not leave one behind."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        engine.close(cancel=cancel)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Observers:
    """The plugins named with ``--observe``; one that raises is warned about once and switched off."""

    def __init__(self, names: tuple[str, ...], warn: Callable[[str], None]) -> None:
        from ganbench.discovery import discover

        self.warn = warn
        self.modules: dict[str, ModuleType] = discover([], names).observers if names else {}

    def evaluated(self, spec: dict[str, Any], evaluation: dict[str, Any]) -> None:
        self._call("ganbench_evaluated", spec=spec, evaluation=evaluation)

    def finished(self, record: dict[str, Any]) -> None:
        self._call("ganbench_finished", record=record)

    def _call(self, hook: str, **arguments: Any) -> None:
        for name, module in list(self.modules.items()):
            try:
                observe(module, name, hook, arguments)
            except Exception as reason:
                del self.modules[name]
                self.warn(f"observer {name} raised {type(reason).__name__}: {reason}; it is switched off for this run")


def observe(module: ModuleType, name: str, hook: str, arguments: dict[str, Any]) -> None:
    """Call one hook of one plugin, through pluggy: an implementation may take fewer arguments than the hook has."""
    import pluggy

    from ganbench import hookspecs

    manager = pluggy.PluginManager("ganbench")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=name)
    getattr(manager.hook, hook)(**arguments)
