"""``ganbench rescore``: metrics of trained variants from their stored states, without training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganbench import rescored
from ganbench.asking import ask
from ganbench.display import PlainDisplay, show, summarise
from ganbench.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED, EXIT_INTERRUPTED, UsageError
from ganbench.executors import LOST, Executor, Job, load_executor
from ganbench.files import read_plain, write_atomic
from ganbench.records import MOST_BYTES, DamagedRecord, columns
from ganbench.reporters import DEFAULT
from ganbench.reporting import write_reports
from ganbench.store import Contents, Store, read_records

Record = dict[str, Any]


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
    earlier: dict[str, Any]

    @property
    def title(self) -> str:
        trial = self.record["identity"]["trial"]
        return f"{self.record['label']} on {trial['dataset']}, seed {trial['seed']}"


def rescore(results: Path, options: Options, jobs: int | None, executor: str) -> int:
    """Rescore what has not been rescored yet, write the tables, and return the exit code."""
    screen = PlainDisplay()
    engine = load_executor(executor, jobs or max(1, (os.cpu_count() or 1) // options.threads), options.threads)
    finished = False
    try:
        store = Store(results)
        with store.locked():
            contents = read_records(results)
            tasks = list(_tasks(store, contents, options))
            todo = [task for task in tasks if task.metrics]
            screen.note(f"{len(todo)} trials to rescore, {len(tasks) - len(todo)} rescored earlier")
            failed = _run(engine, todo, options, screen) if todo else 0
            contents, board, trials = write_reports(results, DEFAULT)
        finished = True
    except KeyboardInterrupt:
        screen.note("interrupted: what was rescored is kept; run the same command again to continue")
        return EXIT_INTERRUPTED
    finally:
        engine.close(cancel=not finished)
    show(board, trials)
    summarise(contents, results)
    if contents.problems:
        return EXIT_DAMAGED
    return EXIT_FAILED if failed else EXIT_COMPLETED


def _tasks(store: Store, contents: Contents, options: Options) -> Iterator[Task]:
    """The completed trials that were asked for."""
    found = False
    for record in contents.records:
        trial = record["identity"]["trial"]
        chosen = (not options.plugins or trial["variant"] in options.plugins) and (
            not options.datasets or trial["dataset"] in options.datasets
        )
        if not chosen or record["status"] != "completed":
            continue
        found = True
        folder = store.place(record["identity"])
        earlier = _earlier(folder, record)
        missing = [name for name in options.metrics if name not in earlier.get("metrics", {})]
        yield Task(record, folder, missing, earlier)
    if not found:
        raise UsageError(f"there is no completed trial in {store.root} to rescore; ganbench run makes them")


def _earlier(folder: Path, record: Record) -> dict[str, Any]:
    """What stands in ``rescored.json``; nothing where it is missing or damaged, and then it is written anew."""
    try:
        return rescored.unseal(read_plain(folder / rescored.FILE, MOST_BYTES), record)
    except (OSError, DamagedRecord):
        return {}


def _run(engine: Executor, tasks: list[Task], options: Options, screen: PlainDisplay) -> int:
    """Rescore each trial in a job of its own; return how many could not be."""
    floors = _floors(engine, tasks, options)
    running: dict[Future[dict[str, Any]], Task] = {}
    for task in tasks:
        payload = {
            "kind": "rescore",
            "folder": str(task.folder.absolute()),
            "metrics": task.metrics,
            "device": options.device,
            "threads": options.threads,
        }
        running[engine.submit(Job(payload, cpus=options.threads))] = task
    failed = 0
    for number, future in enumerate(as_completed(running), start=1):
        task = running[future]
        try:
            result = future.result()
        except LOST as reason:
            result = {"failed": str(reason)}
        if "failed" in result:
            failed += 1
            screen.note(f"[{number}/{len(tasks)}] {task.title}: not rescored: {result['failed']}")
            continue
        _write(task, result, floors[_key(task, options)])
        values = ", ".join(f"{name} {value:.6g}" for name, value in result["values"].items() if value is not None)
        screen.note(f"[{number}/{len(tasks)}] {task.title}: {values or 'none of them applies'}")
    return failed


def _floors(engine: Executor, tasks: list[Task], options: Options) -> dict[tuple[Any, ...], dict[str, float | None]]:
    """Floors of the new metrics, for each dataset and evaluation once."""
    needed: dict[tuple[Any, ...], Task] = {}
    for task in tasks:
        needed.setdefault(_key(task, options), task)
    payloads = []
    for task in needed.values():
        trial, evaluation = task.record["identity"]["trial"], task.record["identity"]["evaluation"]
        payloads.append(
            {
                "kind": "reference",
                "dataset": trial["dataset"],
                "extractor": evaluation["extractor"],
                "samples": evaluation["samples"],
                "metrics": task.metrics,
                "device": options.device or trial["device"],
                "threads": options.threads,
            }
        )
    answers = ask(engine, payloads)
    return {key: answer["floors"] for key, answer in zip(needed, answers, strict=True)}


def _key(task: Task, options: Options) -> tuple[Any, ...]:
    trial, evaluation = task.record["identity"]["trial"], task.record["identity"]["evaluation"]
    return (
        *(trial["dataset"], trial["dataset_hash"], options.device or trial["device"]),
        *(evaluation["extractor"], evaluation["extractor_hash"], evaluation["samples"], *task.metrics),
    )


def _write(task: Task, result: dict[str, Any], floors: dict[str, float | None]) -> None:
    """Add what was found to what an earlier rescoring left."""
    before = task.earlier.get("metrics", {})
    metrics = columns(result["about"], result["values"], floors, first=len(before))
    found = {
        "record": task.record["sha256"],
        "metrics": {**before, **metrics},
        "values": {**task.earlier.get("values", {}), **result["values"]},
        "environment": result["environment"],
    }
    write_atomic(task.folder / rescored.FILE, rescored.seal(found).encode())
