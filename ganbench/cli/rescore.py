"""``ganbench rescore``: metrics of trained variants from their stored states, without training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganbench.cli.options import names_option, plugin_options, threads_option, weights_option
from ganbench.discovery.early_names import check_names
from ganbench.executors import Executor, Job, on_this_machine
from ganbench.executors.running import OnInterrupt, run_jobs
from ganbench.reporters import DEFAULT
from ganbench.results import rescored
from ganbench.results.records import DamagedRecord, columns
from ganbench.results.schema import Evaluation, Record
from ganbench.results.store import Contents, Store, read_records
from ganbench.runner.preflight import ask
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED, EXIT_INTERRUPTED, UsageError
from ganbench.utils.files import write_atomic

if TYPE_CHECKING:
    from ganbench.runner.progress import PlainDisplay


@click.command("rescore")
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@names_option("--metrics", "-m", required=True, help="Metrics to compute.")
@names_option("--plugins", "-p", help="Variants to rescore.  [default: all]")
@names_option("--datasets", "-d", help="Datasets to rescore.  [default: all]")
@weights_option()
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps.  [default: the kind that a trial was trained on]")
@threads_option("They change the last bits.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Trials at a time.  [default: cores / threads]")
@click.option("--executor", default="local", show_default=True, help="Engine: local or inline.")
@plugin_options
def command(
    results: Path,
    metrics: tuple[str, ...],
    plugins: tuple[str, ...],
    datasets: tuple[str, ...],
    weights: str | None,
    device: str | None,
    threads: int,
    jobs: int | None,
    executor: str,
) -> None:
    """Compute metrics of finished trials in a results folder, from their stored states, without training.

    Each value is what the trial's last evaluation would have found: the same samples against the same real
    ones. It stands in rescored.json beside the unchanged record; the tables show both. The same command again
    computes only what is missing.
    """
    if weights:
        from ganbench.extractors.weight_files import digest, remember

        remember(Path(weights), digest(Path(weights)))
    check_names([("metric", name) for name in metrics])
    sys.exit(rescore(results, Options(metrics, plugins, datasets, device, threads), jobs, executor))


@dataclass(frozen=True)
class Options:
    """What ``ganbench rescore`` was asked for; empty names mean all.

    Attributes:
        device: None for the kind of device that each trial was trained on.
    """

    metrics: tuple[str, ...]
    plugins: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    device: str | None = None
    threads: int = 1


@dataclass(frozen=True)
class Task:
    """One trial, the metrics that it lacks, and what an earlier rescoring found."""

    record: Record
    folder: Path
    metrics: list[str]
    earlier: rescored.Rescored | None


def rescore(results: Path, options: Options, jobs: int | None, executor: str) -> int:
    """Rescore what has not been rescored yet, write the tables, and return the exit code."""
    from ganbench.reporters.report import write_reports
    from ganbench.reporters.terminal import show, summarise
    from ganbench.runner.progress import PlainDisplay

    screen = PlainDisplay()
    try:
        store = Store(results)
        with on_this_machine(executor, jobs, options.threads) as engine, store.locked():
            contents = read_records(results)
            tasks = list(_tasks(store, contents, options))
            todo = [task for task in tasks if task.metrics]
            screen.note(f"{len(todo)} trials to rescore, {len(tasks) - len(todo)} rescored earlier")
            failed = _rescore_tasks(engine, todo, options, screen) if todo else 0
            contents, report = write_reports(results, DEFAULT)
    except KeyboardInterrupt:
        screen.note("interrupted: what was rescored is kept; run the same command again to continue")
        return EXIT_INTERRUPTED
    show(report)
    summarise(contents, results)
    if contents.problems:
        return EXIT_DAMAGED
    return EXIT_FAILED if failed else EXIT_COMPLETED


def _tasks(store: Store, contents: Contents, options: Options) -> Iterator[Task]:
    """The completed trials that were asked for."""
    found = False
    for record in contents.records:
        trial = record.identity.trial
        chosen = (not options.plugins or trial.variant in options.plugins) and (
            not options.datasets or trial.dataset in options.datasets
        )
        if not chosen or record.status != "completed":
            continue
        found = True
        folder = store.place(record.identity)
        earlier = _earlier(folder, record)
        missing = [name for name in options.metrics if earlier is None or not earlier.has(name)]
        yield Task(record, folder, missing, earlier)
    if not found:
        raise UsageError(f"there is no completed trial in {store.root} to rescore; ganbench run makes them")


def _earlier(folder: Path, record: Record) -> rescored.Rescored | None:
    """What stands in ``rescored.json``; None where it is missing or damaged, and then it is written anew."""
    try:
        return rescored.read(folder, record)
    except DamagedRecord:
        return None


def _rescore_tasks(engine: Executor, tasks: list[Task], options: Options, screen: PlainDisplay) -> int:
    """Write what each task's job found as soon as it is there; return how many could not be rescored.

    Asked to stop, it finishes what runs and raises KeyboardInterrupt.
    """
    floors = _floors(engine, tasks, options)

    def job(task: Task) -> Job:
        payload = {
            "kind": "rescore",
            "folder": str(task.folder.absolute()),
            "metrics": task.metrics,
            "device": options.device,
            "threads": options.threads,
        }
        return Job(payload, cpus=options.threads)

    failed = 0
    runs = run_jobs(
        engine, tasks, job, on_interrupt=OnInterrupt.FINISH, title=lambda task: task.record.title, note=screen.note
    )
    for done, (task, ended) in enumerate(runs, 1):
        if ended.returned:
            found = _added(task, ended.result, floors[_key(task, options)])
            _write(task, found)
            told = [f"{name} {value:.6g}" for name, value in ended.result["values"].items() if value is not None]
            told += [note for name in ended.result["values"] for note in found.metrics[name].notes]
            without = [name for name, value in ended.result["values"].items() if value is None]
            told = [*told, *(f"{name} has no value" for name in without)] if told else ["none of them applies"]
        else:
            failed += 1
            told = [f"not rescored: {ended.reason}"]
        screen.note(f"[{done}/{len(tasks)}] {task.record.title}: {', '.join(told)}")
    return failed


def _floors(engine: Executor, tasks: list[Task], options: Options) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What ``describe_reference`` says of the new metrics, for each dataset and evaluation once."""
    needed: dict[tuple[Any, ...], Task] = {}
    for task in tasks:
        needed.setdefault(_key(task, options), task)
    payloads = []
    for task in needed.values():
        trial, evaluation = task.record.identity.trial, task.record.identity.evaluation
        payloads.append(
            {
                "kind": "reference",
                "dataset": trial.dataset,
                "extractor": evaluation.extractor,
                "samples": evaluation.samples,
                "split": evaluation.split,
                "metrics": task.metrics,
                "device": options.device or trial.device,
                "threads": options.threads,
            }
        )
    answers = ask(engine, payloads)
    return dict(zip(needed, answers, strict=True))


def _key(task: Task, options: Options) -> tuple[Any, ...]:
    trial, evaluation = task.record.identity.trial, task.record.identity.evaluation
    return (
        *(trial.dataset, trial.dataset_hash, options.device or trial.device),
        *(evaluation.extractor, evaluation.extractor_hash, evaluation.samples, evaluation.split, *task.metrics),
    )


def _added(task: Task, result: dict[str, Any], reference: dict[str, Any]) -> rescored.Rescored:
    """What was found, added to what an earlier rescoring left."""
    metrics, values = (task.earlier.metrics, task.earlier.values) if task.earlier else ({}, {})
    end = Evaluation(step=result["step"], images_seen=0, values=result["values"], faults=result["faults"])
    return rescored.Rescored(
        record=task.record.sha256,
        metrics={
            **metrics,
            **columns(
                result["about"],
                result["values"],
                reference["floors"],
                reference["floor_notes"],
                [end],
                first=len(metrics),
                floor_spreads=reference["floor_spreads"],
            ),
        },
        values={**values, **result["values"]},
        environment=result["environment"],
    )


def _write(task: Task, found: rescored.Rescored) -> None:
    write_atomic(task.folder / rescored.FILE, rescored.seal(found).encode())
