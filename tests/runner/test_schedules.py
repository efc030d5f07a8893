"""Every requested trial ends in exactly one status, whatever an engine does: the real scheduler and store, and a
stand-in engine that completes, loses, kills, cancels and garbles jobs in random order and time.

    pytest -m slow tests/runner/test_schedules.py      1,000 schedules
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections import Counter
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ganbench.cli.run import exit_code
from ganbench.executors import DeadlineExceeded, Job, MemoryExceeded, OutOfMemory, WorkerDied
from ganbench.executors.running import ATTEMPTS
from ganbench.results.schema import STATUSES, Record
from ganbench.results.spec import Planned, Protocol, TrialSpec
from ganbench.results.store import Store, read_records
from ganbench.runner.planning import Plan, Request
from ganbench.runner.scheduler import Sweep
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_FAILED

PROTOCOL = Protocol(
    budget_images=64,
    batch_size=64,
    device="cpu",
    extractor="identity",
    extractor_hash="e" * 64,
    samples=2,
    evaluations=1,
)
ENVIRONMENT = {"packages": {"ganbench": "0"}, "threads": 1}


def planned(seed: int) -> Planned:
    spec = TrialSpec("fake", "fakes", "a" * 64, {}, "ring8", "d" * 64, seed, PROTOCOL)
    about = {"coverage": {"label": "Coverage", "direction": "max"}}
    return Planned(spec, "fake", "variant", "coverage", about, ENVIRONMENT, "cpu")


def outcome(status: str) -> dict[str, Any]:
    values = {"coverage": 0.5} if status == "completed" else {}
    reason = None if status == "completed" else status
    return {
        "status": status,
        "reason": reason,
        "first_nonfinite": None,
        "values": values,
        "evaluations": [],
        "cost": {},
    }


# What a job may do, and the status that this alone would end in. KILLED is tried again, in the end as often as may be.
KILLED = {
    "killed": (WorkerDied("its process was killed by SIGKILL", -9), "crashed"),
    "terminated": (WorkerDied("its process was killed by SIGTERM", -15), "crashed"),
    "starved": (OutOfMemory("the system killed its process for want of memory", -9), "oom"),
}
ENDS: dict[str, tuple[Any, str]] = {
    "completes": (outcome("completed"), "completed"),
    "diverges": (outcome("diverged"), "diverged"),
    "errs": (outcome("error"), "error"),
    "runs out": (outcome("oom"), "oom"),
    "fails": ({"failed": "ValueError: no", "usage": False}, "error"),
    "quits": (WorkerDied("its process ended by itself with exit code 0", 0), "crashed"),
    "segfaults": (WorkerDied("its process was killed by SIGSEGV", -11), "crashed"),
    "vanishes": (WorkerDied("nobody knows", None), "crashed"),
    "hangs": (DeadlineExceeded("it ran longer than 1 s"), "timeout"),
    "swells": (MemoryExceeded("it held more than 1 GB"), "oom"),
    "breaks": (RuntimeError("the engine broke\nin two"), "error"),
    "is cancelled": (CancelledError(), "error"),
    "says nothing": (None, "error"),
    "says a list": ([1, 2], "error"),
    "says too little": ({}, "error"),
    "says another status": (outcome("perfect"), "error"),
    "says no status": ({**outcome("completed"), "status": None}, "error"),
    "says no values": ({**outcome("completed"), "values": "none"}, "error"),
    "says nan": ({**outcome("completed"), "values": {"coverage": math.nan}}, "error"),
    "says an object": ({**outcome("completed"), "evaluations": [object()]}, "error"),
}


class Engine:
    """Ends each job as ``fate`` says, in some order: at once, or on a thread after a moment."""

    isolated = True
    remote = False
    slots = window = 8

    def __init__(self, chance: random.Random, fates: dict[int, list[str]]) -> None:
        self.chance, self.fates = chance, fates
        self.threads = ThreadPoolExecutor(chance.randint(1, 4))
        self.submitted: Counter[int] = Counter()

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        future: Future[Any] = Future()
        if job.payload["kind"] == "reference":
            future.set_result({"reference": {"trace": 1.0}, "floors": {"coverage": 0.9}})
            return future
        seed = job.payload["spec"]["seed"]
        fate = self.fates[seed][self.submitted[seed]]
        self.submitted[seed] += 1
        what, _ = {**ENDS, **KILLED}[fate]
        seconds = self.chance.choice([0, 0, 0.001, 0.003])
        folder = Path(job.payload["folder"])

        def end() -> None:
            time.sleep(seconds)
            if seconds:  # half a line, as a kill leaves it; one that got further each time would be tried for ever
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "progress.jsonl").write_text('{"attempt": 1}\n{"eval')
            if fate == "is cancelled":
                future.cancel()
                future.set_running_or_notify_cancel()
            elif isinstance(what, Exception):
                future.set_exception(what)
            else:
                future.set_result(what)

        if seconds or self.chance.random() < 0.5:
            self.threads.submit(end)
        else:
            end()
        return future

    def close(self, cancel: bool = False) -> None:
        self.threads.shutdown(wait=True)


class Silent:
    def note(self, text: str) -> None: ...
    def begin(self, trials: list[Planned], kept: int, where: str) -> None: ...
    def progress(self, trial: Planned, images: int, evaluation: dict[str, Any] | None) -> None: ...
    def finished(self, trial: Planned, record: Record, cost: dict[str, Any]) -> None: ...


def fates(chance: random.Random, faulty: bool) -> tuple[list[str], str]:
    """What happens to one trial, attempt by attempt, and the status that this must end in."""
    last = chance.choice(sorted(ENDS)) if faulty else "completes"
    kills = [chance.choice(sorted(KILLED)) for _ in range(chance.choice([0, 0, 0, 1, 2, 3]))][:ATTEMPTS]
    if len(kills) == ATTEMPTS:
        return kills, KILLED[kills[-1]][1]
    return [*kills, last], ENDS[last][1]


def schedule(folder: Path, number: int) -> Counter[str]:
    chance = random.Random(number)
    trials = [planned(seed) for seed in range(chance.randint(1, 8))]
    chance.shuffle(trials)
    faulty = chance.random() < 0.8
    expected = {trial.spec.seed: fates(chance, faulty) for trial in trials}
    store = Store(folder)
    for again in (False, True):
        engine = Engine(chance, {seed: steps for seed, (steps, _) in expected.items()})
        sweep = Sweep(store, engine, Request(("fake",)), Plan(trials, [], []), Silent())
        with store.locked():
            statuses = sweep.run()
        engine.close()
        contents = read_records(folder)
        assert contents.problems == [] and contents.interrupted == 0
        found = {r.identity.trial.seed: r.status for r in contents.records}
        assert found == {seed: status for seed, (_, status) in expected.items()}
        assert len(contents.records) == len(trials) == sum(statuses.values()) and set(statuses) <= set(STATUSES)
        assert all((r.reason is None) == (r.status == "completed") for r in contents.records)
        failed = any(status != "completed" for status in found.values())
        assert exit_code(statuses, contents) == (EXIT_FAILED if failed else EXIT_COMPLETED)
        # A second run finds all of it, and submits nothing.
        assert engine.submitted == ({} if again else {seed: len(steps) for seed, (steps, _) in expected.items()})
        assert json.dumps(sorted(p.name for p in folder.rglob("*") if p.is_file() and p.name != ".lock")) == json.dumps(
            sorted(["cost.json", "record.json"] * len(trials))
        )
    return statuses


@pytest.mark.parametrize("schedules", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_trial_ends_in_exactly_one_status(
    schedules: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power is cut here
    total: Counter[str] = Counter()
    for number in range(schedules):
        total += schedule(tmp_path / str(number), number)
    assert set(total) == set(STATUSES)
    print(f"{schedules} schedules, {sum(total.values())} trials: {dict(total)}")
