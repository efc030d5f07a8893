"""Runs the trials of a plan on an executor, until every one has its record.

What is finished is kept, what was interrupted goes on. Engine-neutral: it submits jobs, waits, classifies
failures, retries what is the machine's fault, and is the only one to write records.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ganbench.executors import (
    DeadlineExceeded,
    EngineLost,
    Executor,
    Job,
    MachineLost,
    MemoryExceeded,
    OutOfMemory,
    WorkerDied,
)
from ganbench.results.records import as_json, compose, seal, unseal
from ganbench.results.schema import Evaluation, Outcome, ProgressLine, Record
from ganbench.results.spec import SEEDS, Planned
from ganbench.results.store import Store, read_records
from ganbench.runner.estimates import Estimates
from ganbench.runner.planning import Plan, Request
from ganbench.runner.preflight import reference_key, references
from ganbench.utils import canonical_json, signals
from ganbench.utils.errors import UsageError, in_words
from ganbench.utils.files import StoreError, open_plain
from ganbench.utils.typed_json import convert

ATTEMPTS = 3  # of a trial whose process or machine was lost, without getting further
STOP_SECONDS = 10.0  # that a trial has for its checkpoint when a sweep is to stop
POLL_SECONDS = 0.5
MOST_READ = 200  # running trials whose progress is read each time: on a cluster every one is a call to its file system
KILLED = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP)


class Display(Protocol):
    """What is told how a sweep goes."""

    def note(self, text: str) -> None: ...
    def begin(self, trials: list[Planned], kept: int) -> None: ...
    def progress(self, trial: Planned, images: int, evaluation: Evaluation | None) -> None: ...
    def finished(self, trial: Planned, record: Record, cost: dict[str, Any]) -> None: ...


@dataclass
class Sweep:
    """One run of a plan.

    Attributes:
        timeout: seconds a trial may run; ``memory``: bytes it may hold; ``cpus`` and ``gpus``: what it needs.
        observed: called with (spec, evaluation) for every evaluation, and ``finished`` with every new record.
    """

    store: Store
    executor: Executor
    request: Request
    plan: Plan
    display: Display
    timeout: float | None = None
    retry_failed: bool = False
    observed: Callable[[dict[str, Any], dict[str, Any]], None] = lambda spec, evaluation: None
    finished: Callable[[dict[str, Any]], None] = lambda record: None
    memory: float | None = None
    cpus: float = 1
    gpus: float = 0

    def run(self) -> Counter[str]:
        """Run what is left to run; return how many of the plan's trials have each status."""
        self.statuses: Counter[str] = Counter()
        todo = []
        settled = set()  # seeds apart, trials are alike: their earlier code is looked for once
        for trial in self.plan.trials:
            alike = replace(trial.spec, seed=0).identity.trial_hash
            if alike not in settled and (moved := self.store.supersede(trial.spec)):
                self.display.note(f"{trial.label}: its code changed; {moved} earlier records moved to superseded/")
            settled.add(alike)
            record = self.store.find(trial.spec)
            if record is not None and self.retry_failed and record.status != "completed":
                self.store.discard(trial.spec)
                record = None
            if record is None:
                todo.append(trial)
                continue
            self.store.tidy(trial.spec)
            self.statuses[record.status] += 1
            missing = [name for name in trial.metrics if name not in record.metrics]
            if missing:
                self.display.note(f"{trial.title}: finished earlier without {', '.join(missing)}; kept as it is")
        self.display.begin(todo, len(self.plan.trials) - len(todo))
        if todo:
            records = read_records(self.store.root).records
            self.references = references(records, self.executor, todo, self.request.threads, self.cpus, self.gpus)
            jobs = Estimates(self.store, records).longest_first(todo)
            del records  # thousands of them fill a gigabyte
            self._run(jobs)
        return self.statuses

    def _run(self, jobs: list[list[Planned]]) -> None:
        waiting = deque(jobs)
        running: dict[Future[dict[str, Any]], Running] = {}
        self._looked = -math.inf
        with signals.gently():
            while (waiting or running) and not signals.requested():
                # No more than the engine has use for: a sweep of thousands would fill the driver, and its queue.
                while waiting and len(running) < self.executor.window and not signals.requested():
                    trials = waiting.popleft()
                    future = self._submit(trials)
                    running[future] = Running([Reading(trial) for trial in trials], attempt=1)
                    if future.done():  # an engine that runs a job as it is submitted
                        self._collect(running, 0)
                if running:
                    self._collect(running, POLL_SECONDS)
            if signals.requested():
                self._stop(running)

    def _stop(self, running: dict[Future[dict[str, Any]], Running]) -> None:
        """Give running trials time to write a checkpoint; then raise KeyboardInterrupt."""
        for future in [future for future in running if future.cancel()]:
            del running[future]
        if running:
            self.display.note(
                f"stopping: what runs writes a checkpoint, within {STOP_SECONDS:g} s; Ctrl-C again ends it at once"
            )
        deadline = time.monotonic() + STOP_SECONDS
        while running and time.monotonic() < deadline:
            self.executor.stop()  # again: a process may have been starting when it was first asked
            self._collect(running, POLL_SECONDS / 5)
        for state in running.values():
            self.display.note(f"{state.title}: it did not stop in time; its last checkpoint is used")
        raise KeyboardInterrupt

    def _collect(self, running: dict[Future[dict[str, Any]], Running], seconds: float) -> None:
        """Record what has ended within some seconds; submit again what somebody killed."""
        done, _ = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
        now = time.monotonic()
        if now - self._looked >= POLL_SECONDS:
            self._looked = now
            for state in sorted(running.values(), key=lambda state: state.looked)[:MOST_READ]:
                self._read_progress(state)
                state.looked = now
        for future in done:
            state = running.pop(future)
            self._read_progress(state)
            outcomes = self._outcomes(future, state)
            if outcomes is not None:
                for trial, outcome in zip(state.trials, outcomes, strict=True):
                    self._record(trial, outcome)
            elif not signals.requested():
                state.attempt, state.died_at = state.attempt + 1, state.images
                running[self._submit(state.trials)] = state

    def _submit(self, trials: list[Planned]) -> Future[dict[str, Any]]:
        folders = [str(self.store.prepare(trial.spec).absolute()) for trial in trials]
        specs, first = [trial.spec.payload() for trial in trials], trials[0]
        payload = {
            "metrics": list(first.metrics),
            "log": str(Path(folders[0]) / "log.txt"),
            "device": first.device,
            "threads": self.request.threads,
            "needs": first.needs,
        }
        if first.spec.protocol.engine == SEEDS:
            payload |= {"kind": "cohort", "specs": specs, "folders": folders}
        else:
            payload |= {"kind": "trial", "spec": specs[0], "folder": folders[0]}
        # Seeds that train together may take what they might take one after the other.
        deadline = None if self.timeout is None else self.timeout * len(trials)
        return self.executor.submit(Job(payload, self.cpus, self.gpus, deadline=deadline, memory=self.memory))

    def _outcomes(self, future: Future[dict[str, Any]], state: Running) -> list[dict[str, Any]] | None:
        """How the trials of a job ended; None to try them again."""
        result = self._result(future, state)
        if result is None or "outcomes" not in result:
            return None if result is None else [result] * len(state.readings)
        match result["outcomes"]:
            case [*outcomes] if len(outcomes) == len(state.readings) and all(isinstance(one, dict) for one in outcomes):
                return outcomes
        return [{"status": "error", "reason": "its executor returned other results"}] * len(state.readings)

    def _result(self, future: Future[dict[str, Any]], state: Running) -> dict[str, Any] | None:
        """What a job returned, or how it ended; None to try it again."""
        if state.died_at is not None and state.images > state.died_at:
            state.attempt = 1
        try:
            result = future.result()
        except (EngineLost, UsageError):  # no trial can run, or none can where this one came to
            raise
        except DeadlineExceeded as reason:
            return {"status": "timeout", "reason": str(reason)}
        except MemoryExceeded as reason:
            return {"status": "oom", "reason": str(reason)}
        except WorkerDied as reason:
            if signals.requested():
                return None
            # Somebody killed it (an operator, or the system for memory), or its node: the checkpoint is good, so go on.
            lost = reason.exit_code in KILLED or isinstance(reason, MachineLost)
            if lost and state.attempt < ATTEMPTS:
                self.display.note(f"{state.title}: {reason}; continuing it (attempt {state.attempt + 1} of {ATTEMPTS})")
                return None
            tries = f", {state.attempt} times" if state.attempt > 1 else ""
            return {"status": "oom" if isinstance(reason, OutOfMemory) else "crashed", "reason": f"{reason}{tries}"}
        except Exception as reason:  # the engine's own fault, or its user cancelled the job
            return {"status": "error", "reason": f"its executor lost it: {in_words(reason)}"}
        if not isinstance(result, dict):
            return {"status": "error", "reason": f"its executor returned no result but {type(result).__name__}"}
        if "interrupted" in result:
            if not signals.requested():
                if state.attempt == ATTEMPTS:  # as under a time limit that is shorter than its start
                    return {"status": "crashed", "reason": f"it was stopped {ATTEMPTS} times before it got any further"}
                self.display.note(f"{state.title}: somebody stopped it with SIGTERM; continuing it")
            return None
        if "unwritable" in result:
            raise StoreError(result["unwritable"])
        if "failed" in result:
            return {"status": "error", "reason": result["failed"]}
        return result

    def _record(self, trial: Planned, outcome: dict[str, Any]) -> None:
        known = self.references[reference_key(trial)]
        cost = outcome.get("cost", {})
        try:
            record = unseal(seal(compose(trial, known.reference, known.floors, convert(outcome, Outcome))))
        except (TypeError, ValueError) as reason:
            lost = Outcome(status="error", reason=f"its result cannot be recorded: {in_words(reason)}")
            record, cost = unseal(seal(compose(trial, known.reference, known.floors, lost))), {}
        self.store.finish(trial.spec, record, cost)
        self.statuses[record.status] += 1
        self.finished(as_json(record))
        self.display.finished(trial, record, cost)

    def _read_progress(self, state: Running) -> None:
        """Tell observers and the display what is new of a job's trials."""
        for reading in state.readings:
            for entry in reading.more(self.store.workplace(reading.trial.spec)):
                evaluation, images = entry.evaluation, entry.images
                if evaluation is not None and images is None:
                    images = evaluation.images_seen
                if evaluation and evaluation.images_seen > reading.evaluated:  # a resumed trial may repeat one
                    reading.evaluated = evaluation.images_seen
                    self.observed(as_json(reading.trial.spec.trial), as_json(evaluation))
                if images is not None:
                    state.images = max(state.images, images)
                    self.display.progress(reading.trial, images, evaluation)


MOST_LINE = 1 << 20  # bytes of a line of progress; a longer one, and what follows it, is not shown


@dataclass
class Reading:
    """A trial that runs, and how much of its progress was read."""

    trial: Planned
    offset: int = 0
    evaluated: int = -1

    def more(self, folder: Path) -> Iterator[ProgressLine]:
        """The lines of progress that the trial has written into its folder since they were last read."""
        with contextlib.suppress(OSError), open_plain(folder / "progress.jsonl") as file:
            file.seek(self.offset)
            while (line := file.readline(MOST_LINE)).endswith(b"\n"):
                self.offset += len(line)
                try:
                    entry = convert(canonical_json.loads(line), ProgressLine)
                except ValueError:  # a plugin may have tampered with the file; it is no more than a display
                    continue
                yield entry


@dataclass
class Running:
    """Trials that one job runs, when their progress was read, and the images each saw, also at the job's last loss."""

    readings: list[Reading]
    attempt: int
    looked: float = -math.inf
    images: int = 0
    died_at: int | None = None

    @property
    def trials(self) -> list[Planned]:
        return [reading.trial for reading in self.readings]

    @property
    def title(self) -> str:
        first, *others = self.trials
        if not others:
            return first.title
        return f"{first.label} on {first.spec.dataset}, seeds {', '.join(str(t.spec.seed) for t in self.trials)}"
