"""What 10,000 trials cost the driver: the real scheduler and results folder, with a stand-in for the trainers.

    python benchmarks/cluster.py                    # the figures of docs/clusters.md
    python benchmarks/cluster.py --trials 1000      # a tenth of it
    python benchmarks/cluster.py --results FOLDER   # on the file system that your results are on

The stand-in has room for 400 trials at a time (100 GPUs, four on each) and ends one as soon as the driver asks. What it
answers is the outcome of a trial of results/reference (21 evaluations, telemetry and all); beside that, it writes the
lines of progress that the driver reads. Its own CPU seconds are taken off. Time that trials would take is not spent:
what is measured is what the driver adds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from leaderboard import DATASETS, REFERENCE, SEEDS, VARIANTS, peak

from ganbench.executors import Job
from ganbench.executors.remote import outgoing
from ganbench.reporters import DEFAULT
from ganbench.reporters.report import write_reports
from ganbench.results.records import as_json, read
from ganbench.results.schema import Evaluation, Outcome, Record
from ganbench.results.spec import Planned, TrialSpec
from ganbench.results.store import Store
from ganbench.runner.estimates import makespan
from ganbench.runner.planning import Plan, Request
from ganbench.runner.scheduler import Sweep
from ganbench.utils import signals
from ganbench.utils.typed_json import convert

ROOM = 400


class Silent:
    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def begin(self, trials: list[Planned], kept: int, where: str) -> None: ...
    def progress(self, trial: Planned, images: int, evaluation: Evaluation | None) -> None: ...
    def finished(self, trial: Planned, record: Record, cost: dict[str, Any]) -> None: ...


class StandIn:
    """Keeps as many trials running as a cluster has room for, and ends them in no order."""

    isolated = remote = True
    slots, window = ROOM, 2 * ROOM

    def __init__(self, record: Record) -> None:
        self.outcome = outcome(record)
        lines = [{"attempt": 1}, *({"evaluation": entry} for entry in as_json(record.evaluations))]
        self.progress = "".join(json.dumps(line) + "\n" for line in lines)
        self.floors = {name: about.floor for name, about in record.metrics.items()}
        self.reference = as_json(record.reference)
        self.running: list[tuple[Job, Future[dict[str, Any]]]] = []
        self.changed = threading.Condition()
        self.cpu, self.closed = 0.0, False
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        future.set_running_or_notify_cancel()
        json.dumps(outgoing(job, 1))  # as engines send it
        with self.changed:
            self.running.append((job, future))
            self.changed.notify()
        return future

    def stop(self) -> None: ...

    def close(self, cancel: bool = False) -> None:
        self.closed = True

    def _work(self) -> None:
        rng = random.Random(0)
        while not self.closed:
            with self.changed:
                if not self.changed.wait_for(lambda: self.running, timeout=1):
                    continue
                if len(self.running) < ROOM:  # the driver comes first, until nothing is left to submit
                    self.changed.wait(0.002)
                i = rng.randrange(min(ROOM, len(self.running)))
                self.running[i], self.running[-1] = self.running[-1], self.running[i]
                job, future = self.running.pop()
            start = time.thread_time()
            if job.payload["kind"] == "reference":
                answer = {"reference": self.reference, "floors": self.floors}
            else:
                (Path(job.payload["folder"]) / "progress.jsonl").write_text(self.progress)
                answer = self.outcome
            self.cpu += time.thread_time() - start
            future.set_result(answer)


def outcome(record: Record) -> dict[str, Any]:
    """What the trial of a record returned to its driver."""
    cost = {"wall_seconds": 60.0, "training_seconds": 50.0, "evaluation_seconds": 8.0, "attempts": 1}
    return {**as_json(convert(as_json(record), Outcome)), "cost": cost}


def planned(record: Record, trials: int) -> Iterator[Planned]:
    spec = TrialSpec.from_identity(record.identity).payload()
    metrics = {
        name: {key: value for key, value in as_json(about).items() if key not in ("floor", "position")}
        for name, about in record.metrics.items()
    }
    seeds = max(trials // (DATASETS * VARIANTS), 1)
    for number in range(trials):
        place, seed = divmod(number, seeds)
        variant, dataset = divmod(place, DATASETS)
        name = f"variant-{variant:02}"
        mine = TrialSpec.from_payload({**spec, "variant": name, "dataset": f"dataset-{dataset}", "seed": seed})
        yield Planned(mine, name, "variant", record.primary, metrics, record.environment, "cpu")


def timed(what: str, call: Callable[[], Any], engine: StandIn) -> Any:
    wall, cpu, other = time.perf_counter(), time.process_time(), engine.cpu
    found = call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu - (engine.cpu - other)
    print(f"| {what} | {cpu:.1f} | {wall:.1f} | {peak():,.0f} |", flush=True)
    return found


def lengths(trials: int) -> list[float]:
    """Seconds of trials, in the order of the plan: those of the reference's variants on each dataset, with seeds that
    differ by a tenth.
    """
    rng = random.Random(0)
    known = [json.loads(path.read_text())["wall_seconds"] for path in sorted(REFERENCE.glob("*/*/seed-0-*/cost.json"))]
    seeds = max(trials // len(known), 1)
    return [one * rng.uniform(0.95, 1.05) for one in known for _ in range(seeds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=DATASETS * VARIANTS * SEEDS)
    parser.add_argument("--results", type=Path, help="an existing folder to make a temporary one in")
    options = parser.parse_args()
    record = read(min(REFERENCE.glob("digits/vanilla/seed-*/record.json")))
    signals.handle_in_driver()
    with tempfile.TemporaryDirectory(dir=options.results) as folder:
        engine, store, request = StandIn(record), Store(folder), Request(("variant",))
        print("| what | CPU seconds of the driver | wall seconds | peak MiB |\n|---|---|---|---|")

        def sweep(trials: list[Planned]) -> None:
            statuses = Sweep(store, engine, request, Plan(trials, [], []), Silent()).run()
            assert statuses == {"completed": options.trials}, statuses

        with store.locked():
            plan = timed(f"plan {options.trials:,} trials", lambda: list(planned(record, options.trials)), engine)
            wall = time.perf_counter()
            timed("run them: submit, follow, record", lambda: sweep(plan), engine)
            wall = time.perf_counter() - wall
            timed("the same command again: all are finished", lambda: sweep(plan), engine)
            timed("read all records, write every table", lambda: write_reports(Path(folder), DEFAULT), engine)
        engine.close()
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        print(f"\n{wall / options.trials * 1000:.1f} ms a trial, {options.trials / wall:.0f} records a second;")
        print(f"{len(files):,} files, {size / 1e6:,.0f} MB by the driver (record.json, cost.json, tables)")
    assert "torch" not in sys.modules
    for slots in (50, ROOM):
        known = lengths(options.trials)
        plain, best = makespan(known, slots), max(sum(known) / slots, max(known))
        first = makespan(sorted(known, reverse=True), slots)
        orders = f"{plain:,.0f} s in the order of the plan, {first:,.0f} s longest first"
        print(f"{slots} at a time: {orders}; none is below {best:,.0f} s")


if __name__ == "__main__":
    main()
