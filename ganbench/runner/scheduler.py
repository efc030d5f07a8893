"""Runs the trials of a plan on an executor until each one has its record, and writes the records.

What is finished is kept, and what was interrupted is continued from its checkpoint. How jobs are submitted, tried again
and stopped stands in ``executors/running.py``.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganbench.executors import Executor, Job
from ganbench.executors.leases import Leases
from ganbench.executors.running import End, Ended, OnInterrupt, run_jobs
from ganbench.results.plan import FILE as PLAN
from ganbench.results.plan import PlanEntry, write_plan
from ganbench.results.progress import FILE as PROGRESS
from ganbench.results.progress import ProgressReader
from ganbench.results.records import as_json, compose, seal, unseal
from ganbench.results.schema import Outcome, Record
from ganbench.results.spec import SEEDS, Planned
from ganbench.results.store import Store, read_records
from ganbench.runner.estimates import Estimates
from ganbench.runner.planning import Plan, Request
from ganbench.runner.preflight import reference_key, references
from ganbench.runner.progress import PlainDisplay
from ganbench.utils.errors import in_words
from ganbench.utils.files import StoreError, remove
from ganbench.utils.typed_json import convert

MOST_READ = 200  # running trials whose progress is read each time: on a cluster every one is a call to its file system

NOT_RUN = "not run"
STATUS_OF = {  # of a trial whose job gave no result
    End.FAILED: "error",
    End.USAGE: "error",
    End.ENGINE_FAULT: "error",
    End.DEADLINE: "timeout",
    End.MEMORY: "oom",
    End.OUT_OF_MEMORY: "oom",
    End.DIED: "crashed",
    End.KILLED: "crashed",
    End.MACHINE_LOST: "crashed",
    End.INTERRUPTED: "crashed",  # again and again
}


@dataclass
class Sweep:
    """One run of a plan.

    Attributes:
        timeout: seconds a trial may run; ``memory``: bytes it may hold; ``cpus`` and ``gpus``: what it needs.
        leases: the GPUs of this machine, if trials run on them.
        observed: called with (spec, evaluation) for every evaluation, and ``finished`` with every new record and
            its folder.
    """

    store: Store
    executor: Executor
    request: Request
    plan: Plan
    display: PlainDisplay
    timeout: float | None = None
    retry_failed: bool = False
    observed: Callable[[dict[str, Any], dict[str, Any]], None] = lambda spec, evaluation: None
    finished: Callable[[dict[str, Any], Path], None] = lambda record, folder: None
    memory: float | None = None
    cpus: float = 1
    gpus: float = 0
    leases: Leases | None = None

    def run(self) -> Counter[str]:
        """Run what is left to run; return how many of the plan's trials have each status."""
        self.statuses: Counter[str] = Counter()
        todo = []
        superseded = self.store.supersede([trial.spec for trial in self.plan.trials])
        for trial, moved in zip(self.plan.trials, superseded, strict=True):
            if moved:
                self.display.note(f"{trial.label}: its code changed; {moved} earlier records moved to superseded/")
            record = self.store.find(trial.spec)
            if record is not None and self.retry_failed and record.status != "completed":
                self.store.discard(trial.spec)
                record = None
            if record is not None and (changed := trial.changed_metrics(record)):
                self.store.set_aside(self.store.folder(trial.spec), "superseded")
                self.display.note(
                    f"{trial.title}: the code of {', '.join(changed)} changed; its record moved to superseded/"
                )
                record = None
            if record is None:
                todo.append(trial)
                continue
            self.store.tidy(trial.spec)
            self.statuses[record.status] += 1
            missing = [name for name in trial.metrics if name not in record.metrics]
            if missing:
                self.display.note(f"{trial.title}: finished earlier without {', '.join(missing)}; kept as it is")
        self.display.begin(todo, len(self.plan.trials) - len(todo), self._where(todo))
        if todo:
            records = read_records(self.store.root).records
            self.references = references(
                records,
                self.executor,
                todo,
                self.request.threads,
                cpus=self.cpus,
                gpus=self.gpus,
                leases=self.leases,
                note=self.display.note,
            )
            devices = 1 if self.leases is None else self.leases.spread
            jobs = Estimates(self.store, records).longest_first(todo, devices)
            del records  # thousands of them fill a gigabyte
            write_plan(self.store.root, [self._entry(trial) for trial in self.plan.trials])
            self._run(jobs)
        remove(self.store.root / PLAN)  # one that was stopped stays, for who watches
        return self.statuses

    def _entry(self, trial: Planned) -> PlanEntry:
        known = self.references.get(reference_key(trial))
        return PlanEntry(
            folder=trial.spec.identity.folder.as_posix(),
            title=trial.title,
            images=trial.spec.protocol.budget_images,
            primary=trial.primary,
            centres=(known.reference.centres if known else None) or [],
        )

    def _where(self, todo: list[Planned]) -> str:
        """On which devices trials run, in words."""
        if not todo:
            return ""
        if self.leases is not None:
            return f"on {self.leases}"
        if self.executor.remote:
            return f"on the cluster, {self.gpus:g} GPUs each" if self.gpus else "on the CPUs of the cluster"
        kind = todo[0].spec.protocol.device
        return "on the CPU" if kind == "cpu" else f"on {todo[0].device}"

    def _run(self, jobs: list[list[Planned]]) -> None:
        """Run jobs until each has ended, and write a record for every trial that a job finished."""
        running = [RunningJob([self._begun(trial) for trial in trials]) for trials in jobs]
        ended_jobs = run_jobs(
            self.executor,
            running,
            self._job,
            leases=self.leases,
            on_interrupt=OnInterrupt.CHECKPOINT,
            title=lambda job: job.title,
            note=self.display.note,
            progress=self._read_progress,
            watch=self._watch,
        )
        with contextlib.closing(ended_jobs):  # where a record cannot be written, signals are as before at once
            for job, ended in ended_jobs:
                if ended.device_fault:  # no record: the same command runs them when there is a GPU for them
                    self.statuses[NOT_RUN] += len(job.trials)
                    if ended.how is not End.DEVICE_LOST or self.leases is None:  # else it was said of the GPU
                        self.display.note(f"{job.title}: not run: {ended.reason}")
                    continue
                for trial, outcome in zip(job.trials, _outcomes(ended, len(job.trials)), strict=True):
                    self._record(trial, outcome)
        if not_run := self.statuses[NOT_RUN]:
            self.display.note(
                f"{not_run} trials were not run, for want of a GPU that can be used: they have no record, and the same "
                "command runs them; --device cpu does without a GPU, as another protocol"
            )

    def _begun(self, trial: Planned) -> RunningTrial:
        return RunningTrial(trial, ProgressReader(self.store.workplace(trial.spec) / PROGRESS))

    def _watch(self, running: list[RunningJob]) -> None:
        """Read the progress of the jobs that were looked at longest ago."""
        for job in sorted(running, key=lambda job: job.looked)[:MOST_READ]:
            self._read_progress(job)
            job.looked = time.monotonic()

    def _read_progress(self, job: RunningJob) -> int:
        """Tell observers and the display what is new of a job's trials; return the most images that one has seen."""
        for part in job.parts:
            for entry in part.progress.new_lines():
                evaluation, images = entry.evaluation, entry.images
                if evaluation is not None and images is None:
                    images = evaluation.images_seen
                if evaluation and evaluation.images_seen > part.evaluated:  # a resumed trial may repeat one
                    part.evaluated = evaluation.images_seen
                    self.observed(as_json(part.trial.spec.trial), as_json(evaluation))
                if images is not None:
                    job.images = max(job.images, images)
                    self.display.progress(part.trial, images, evaluation)
        return job.images

    def _job(self, running: RunningJob) -> Job:
        """What the engine is given: a trial, or the seeds that train together."""
        trials = running.trials
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
        return Job(payload, self.cpus, self.gpus, deadline=deadline, memory=self.memory)

    def _record(self, trial: Planned, outcome: dict[str, Any]) -> None:
        known = self.references[reference_key(trial)]
        cost = outcome.get("cost", {})

        def recorded(outcome: Outcome) -> Record:
            made = compose(trial, known.reference, known.floors, outcome, known.floor_notes, known.floor_spreads)
            return unseal(seal(made))

        try:
            record = recorded(convert(outcome, Outcome))
        except (TypeError, ValueError) as reason:
            lost = Outcome(status="error", reason=f"its result cannot be recorded: {in_words(reason)}")
            record, cost = recorded(lost), {}
        self.store.finish(trial.spec, record, cost)
        self.statuses[record.status] += 1
        self.finished(as_json(record), self.store.folder(trial.spec))
        self.display.finished(trial, record, cost)


def _outcomes(ended: Ended, count: int) -> list[dict[str, Any]]:
    """How each trial of a job ended; raises StoreError where the disk cannot be written."""
    if ended.how is End.UNWRITABLE:
        raise StoreError(ended.reason)
    if not ended.returned:
        return [{"status": STATUS_OF[ended.how], "reason": ended.reason}] * count
    match ended.result.get("outcomes", [ended.result] * count):
        case [*outcomes] if len(outcomes) == count and all(isinstance(one, dict) for one in outcomes):
            return outcomes
    return [{"status": "error", "reason": "its executor returned other results"}] * count


@dataclass
class RunningTrial:
    """A trial of a running job.

    Attributes:
        evaluated: images seen at the last evaluation that was read.
    """

    trial: Planned
    progress: ProgressReader
    evaluated: int = -1


@dataclass
class RunningJob:
    """The trials of one job: a single one, or seeds that train together.

    Attributes:
        images: the most that one of the trials has seen.
        looked: when their progress was last read (``time.monotonic``).
    """

    parts: list[RunningTrial]
    images: int = 0
    looked: float = -math.inf

    @property
    def trials(self) -> list[Planned]:
        return [part.trial for part in self.parts]

    @property
    def title(self) -> str:
        first, *others = self.trials
        if not others:
            return first.title
        return f"{first.label} on {first.spec.dataset}, seeds {', '.join(str(t.spec.seed) for t in self.trials)}"
