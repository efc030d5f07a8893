"""What the scheduler does with trials whose processes are killed or asked to stop."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganbench.executors import EngineLost, Job, MachineLost, WorkerDied, running
from ganbench.results.records import compose
from ganbench.results.schema import Outcome, Reference
from ganbench.results.spec import Planned, Protocol, TrialSpec
from ganbench.results.store import Store
from ganbench.runner import scheduler
from ganbench.runner.planning import Plan, Request
from ganbench.runner.preflight import Known, reference_key, references
from ganbench.runner.scheduler import Sweep
from ganbench.utils import signals
from ganbench.utils.errors import UsageError
from ganbench.utils.files import StoreError

PROTOCOL = Protocol(640, 64, "cpu", "identity", "e" * 64, 100, 2)
ENVIRONMENT = {"packages": {"ganbench": "1"}}
DONE = {"status": "error", "reason": "it ends here", "first_nonfinite": None}


class Quiet:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, *arguments: Any) -> None:
        pass

    finished = begin = progress


class Scripted:
    """An executor whose attempts get so far (images seen) and end so."""

    isolated = True
    remote = False
    slots = window = 8

    def __init__(self, script: list[tuple[int, dict[str, Any] | Exception | None]]) -> None:
        self.script, self.asked, self.futures = iter(script), 0, []

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        images, end = next(self.script)
        folder = Path(job.payload["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "progress.jsonl", "a") as file:
            file.write(json.dumps({"images": images}) + "\n")
        future: Future[dict[str, Any]] = Future()
        future.set_running_or_notify_cancel()
        self.futures.append(future)
        if isinstance(end, Exception):
            future.set_exception(end)
        elif end is not None:
            future.set_result(end)
        return future

    def stop(self) -> None:
        self.asked += 1


def sweep(folder: Path, executor: Scripted) -> tuple[Sweep, Planned]:
    spec = TrialSpec("v", "d", "a" * 64, {}, "ring8", "d" * 64, 0, PROTOCOL)
    metrics = {"fid": {"label": "FID", "direction": "min"}}
    trial = Planned(spec, "v", "variant", "fid", metrics, ENVIRONMENT, "cpu")
    found = Sweep(Store(folder), executor, Request(("v",)), Plan([trial], [], []), Quiet())
    found.statuses = Counter()
    found.references = {reference_key(trial): Known(Reference(), {"fid": 0.0})}
    return found, trial


def killed() -> WorkerDied:
    return WorkerDied("its process was killed by SIGKILL", -9)


@pytest.mark.parametrize(
    ("images", "status", "reason"),
    [
        ([0, 0, 0], "crashed", "its process was killed by SIGKILL, 3 times"),
        ([320, 320, 320], "crashed", "its process was killed by SIGKILL, 3 times"),
        ([0, 64, 128, 192, 256, 320], "error", "it ends here"),  # each gets further: it may go on for ever
        ([0, 64, 64, 128, 128, 128], "crashed", "its process was killed by SIGKILL, 3 times"),
        ([320, 64, 320], "crashed", "its process was killed by SIGKILL, 3 times"),  # from the start again
    ],
)
def test_a_killed_trial_is_given_up_only_where_it_gets_no_further(
    images: list[int], status: str, reason: str, tmp_path: Path
) -> None:
    executor = Scripted([*((n, killed()) for n in images), (640, DONE)])
    one, trial = sweep(tmp_path, executor)
    one._run([[trial]])
    record = one.store.find(trial.spec)
    assert (record.status, record.reason) == (status, reason)
    assert len(executor.futures) == len(images) + (status == "error")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ask this process to stop, until the test ends."""
    monkeypatch.setattr(signals, "_requested", None)
    return lambda: monkeypatch.setattr(signals, "_requested", 1.0)


def test_a_sweep_that_is_to_stop_waits_for_checkpoints_and_records_what_ends(tmp_path: Path, asked) -> None:
    executor = Scripted([(0, None)])

    def stop() -> None:
        executor.asked += 1
        if executor.asked == 3:
            executor.futures[0].set_result({"interrupted": True})

    executor.stop = stop
    one, trial = sweep(tmp_path, executor)
    one.observed = lambda spec, evaluation: None
    one._read_progress = lambda job: asked() or 0  # the signal comes while it trains
    with pytest.raises(KeyboardInterrupt):
        one._run([[trial]])
    assert executor.asked == 3 and one.store.find(trial.spec) is None
    assert len(one.display.notes) == 1 and "stopping" in one.display.notes[0]
    assert not signals._graceful


def test_what_dies_while_a_sweep_stops_is_neither_tried_again_nor_recorded(tmp_path: Path, asked) -> None:
    executor = Scripted([(0, WorkerDied("its process ended by itself with exit code 255", 255))])
    one, trial = sweep(tmp_path, executor)
    one._read_progress = lambda job: asked() or 0
    with pytest.raises(KeyboardInterrupt):
        one._run([[trial]])
    assert len(executor.futures) == 1 and one.store.find(trial.spec) is None
    assert one.store.state(trial.spec) == "interrupted"


def test_a_trial_stopped_from_outside_is_continued(tmp_path: Path, asked) -> None:
    executor = Scripted([(64, {"interrupted": True}), (640, DONE)])
    one, trial = sweep(tmp_path, executor)
    one._run([[trial]])
    assert one.statuses == {"error": 1} and "stopped it with SIGTERM" in one.display.notes[0]


def test_a_trial_that_is_stopped_again_and_again_goes_on_as_long_as_it_gets_further(tmp_path: Path, asked) -> None:
    stopped = {"interrupted": True}
    for images, ends, reason in (
        ([0, 64, 128, 192], "error", "it ends here"),
        ([64, 64, 64], "crashed", "it was stopped 3 times before it got any further"),
    ):
        one, trial = sweep(tmp_path / ends, Scripted([*((n, stopped) for n in images), (640, DONE)]))
        one._run([[trial]])
        record = one.store.find(trial.spec)
        assert (record.status, record.reason) == (ends, reason)


def test_a_lost_machine_is_tried_again_and_a_lost_engine_ends_the_sweep(tmp_path: Path) -> None:
    executor = Scripted([(64, MachineLost("its node was lost")), (64, MachineLost("its node was lost")), (640, DONE)])
    one, trial = sweep(tmp_path, executor)
    one._run([[trial]])
    assert one.statuses == {"error": 1}
    assert [note.partition("; ")[2] for note in one.display.notes] == [
        "continuing it (attempt 2 of 3)",
        "continuing it (attempt 3 of 3)",
    ]
    for lost in (EngineLost("the cluster is gone"), UsageError("ganbench is 1 here and 2 there")):
        one, trial = sweep(tmp_path / type(lost).__name__, Scripted([(64, lost)]))
        with pytest.raises(type(lost)):
            one._run([[trial]])
        assert one.store.state(trial.spec) == "interrupted"


def test_no_more_is_submitted_than_the_engine_has_use_for(tmp_path: Path) -> None:
    executor = Scripted([(64, None)] * 9)
    executor.window = 3
    one, trial = sweep(tmp_path, executor)
    trials = [replace(trial, spec=replace(trial.spec, seed=seed)) for seed in range(9)]
    submit, most = executor.submit, []

    def submitting(job: Job) -> Future[dict[str, Any]]:
        submitted = submit(job)
        most.append(sum(not future.done() for future in executor.futures))
        threading.Timer(0.2, submitted.set_result, [DONE]).start()
        return submitted

    executor.submit = submitting
    one._run([[trial] for trial in trials])
    assert max(most) == 3 and one.statuses == {"error": 9}


def test_the_order_of_trials_changes_no_record(tmp_path: Path) -> None:
    folders = []
    for turned in (False, True):
        executor = Scripted([(640, DONE)] * 5)
        one, trial = sweep(tmp_path / str(turned), executor)
        trials = [replace(trial, spec=replace(trial.spec, seed=seed)) for seed in range(5)]
        one._run([[trial] for trial in (trials[::-1] if turned else trials)])
        paths = sorted((tmp_path / str(turned)).rglob("record.json"))
        folders.append({path.parent.name: path.read_bytes() for path in paths})
    assert folders[0] == folders[1] and len(folders[0]) == 5


@pytest.mark.parametrize("source", ["a" * 64, "b" * 64])
def test_the_floor_of_a_metric_whose_code_changed_is_computed_again(source: str, tmp_path: Path) -> None:
    _, trial = sweep(tmp_path, Scripted([]))
    trial = replace(trial, metrics={"mine": {"label": "Mine", "direction": "min", "source": "a" * 64}})
    outcome = Outcome(status="error", reason="it ended", environment=None)
    record = compose(trial, Reference(features=2), {"mine": 0.5}, outcome)
    asked = {"mine": {**trial.metrics["mine"], "source": source}}
    again = replace(trial, spec=replace(trial.spec, seed=1), metrics=asked)
    engine = Engine(lambda job: None)
    (known,) = references([record], engine, [again], 1).values()
    assert known.floors == ({"mine": 0.5} if source == "a" * 64 else {})  # the engine here answers without any


class Engine:
    """Answers what is asked first; ``job`` says what a trial's job returns or raises, None leaves it running."""

    isolated = True
    remote = False
    slots = window = 8

    def __init__(self, job: Callable[[Job], dict[str, Any] | Exception | None]) -> None:
        self.job, self.jobs, self.futures = job, [], []

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        if job.payload["kind"] == "reference":
            future.set_result({"reference": {}, "floors": {}})
            return future
        self.jobs.append(job)
        self.futures.append(future)
        end = self.job(job)
        if isinstance(end, Exception):
            future.set_exception(end)
        elif end is not None:
            future.set_result(end)
        return future

    def stop(self) -> None:
        pass

    @property
    def seeds(self) -> list[int]:
        return [job.payload["spec"]["seed"] for job in self.jobs]


class Told(Quiet):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[int, int]] = []
        self.costs: list[dict[str, Any]] = []

    def progress(self, trial: Planned, images: int, evaluation: dict[str, Any] | None) -> None:
        self.images.append((trial.spec.seed, images))

    def finished(self, trial: Planned, record: Any, cost: dict[str, Any]) -> None:
        self.costs.append(cost)


def trials(count: int, metrics: tuple[str, ...] = ("fid",), engine: str = "serial", **changed: Any) -> list[Planned]:
    about = {name: {"label": name.upper(), "direction": "min"} for name in metrics}
    protocol = replace(PROTOCOL, engine=engine)
    specs = [TrialSpec("v", "d", "a" * 64, {}, "ring8", "d" * 64, seed, protocol) for seed in range(count)]
    return [Planned(replace(s, **changed), "v", "variant", "fid", about, ENVIRONMENT, "cpu") for s in specs]


def swept(folder: Path, engine: Engine, planned: list[Planned], **options: Any) -> Sweep:
    """A sweep that has run."""
    one = Sweep(Store(folder), engine, Request(("v",), threads=3), Plan(planned, [], []), Told(), **options)
    one.run()
    return one


def completed(cost: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"status": "completed", "reason": None, "values": {"fid": 1.0}, "cost": cost or {}}


def wrote(job: Job, text: str) -> None:
    with open(Path(job.payload["folder"]) / "progress.jsonl", "a") as file:
        file.write(text)


def test_what_was_finished_is_kept_and_what_failed_is_tried_again_when_asked(tmp_path: Path) -> None:
    ends = [completed(), DONE, {**DONE, "status": "oom"}]
    first = swept(tmp_path, Engine(lambda job: ends[job.payload["spec"]["seed"]]), trials(3))
    folders = [first.store.folder(trial.spec) for trial in trials(3)]
    for folder in folders:
        (folder / "checkpoint.safetensors").write_text("of a process that came to an end after its trial")
    kept = swept(tmp_path, Engine(lambda job: completed()), trials(3, ("fid", "kid")))
    assert kept.executor.jobs == [] and kept.statuses == {"completed": 1, "error": 1, "oom": 1}
    assert kept.display.notes[0] == "v on ring8, seed 0: finished earlier without kid; kept as it is"
    assert not any((folder / "checkpoint.safetensors").exists() for folder in folders)
    (folders[1] / "samples.png").write_text("of the attempt that failed")
    again = swept(tmp_path, Engine(lambda job: completed()), trials(3), retry_failed=True)
    assert again.executor.seeds == [1, 2] and again.statuses == {"completed": 3}
    assert not (folders[1] / "samples.png").exists()


def test_records_of_earlier_code_are_set_aside_once_and_said(tmp_path: Path) -> None:
    swept(tmp_path, Engine(lambda job: completed()), trials(3))
    edited = swept(tmp_path, Engine(lambda job: completed()), trials(3, source="b" * 64))
    assert edited.executor.seeds == [0, 1, 2]
    assert edited.display.notes == ["v: its code changed; 3 earlier records moved to superseded/"]
    of_one = swept(tmp_path, Engine(lambda job: completed()), trials(1, source="c" * 64))
    assert of_one.display.notes == edited.display.notes


def test_trials_begin_in_the_order_of_the_estimates_those_of_unknown_length_first(tmp_path: Path) -> None:
    cost = {"training_seconds": 1.0, "evaluation_seconds": 1.0, "wall_seconds": 2.0}
    swept(tmp_path, Engine(lambda job: completed(cost)), trials(1))
    new = trials(2, dataset="grid25")
    engine = Engine(lambda job: completed())
    swept(tmp_path, engine, [*trials(3), *new])
    order = [(job.payload["spec"]["dataset"], job.payload["spec"]["seed"]) for job in engine.jobs]
    assert order == [("grid25", 0), ("grid25", 1), ("ring8", 1), ("ring8", 2)]


def test_a_job_is_given_what_a_trial_needs_and_seeds_that_train_together_the_time_of_all(tmp_path: Path) -> None:
    limits = {"timeout": 100.0, "memory": 5e9, "cpus": 2, "gpus": 1}
    (job,) = swept(tmp_path / "a", Engine(lambda job: completed()), trials(1), **limits).executor.jobs
    assert (job.cpus, job.gpus, job.deadline, job.memory) == (2, 1, 100.0, 5e9)
    assert (job.payload["kind"], job.payload["threads"], job.payload["device"]) == ("trial", 3, "cpu")
    for count in (1, 3):
        together = Engine(lambda job: {"outcomes": [completed() for _ in job.payload["specs"]]})
        swept(tmp_path / str(count), together, trials(count, engine="seeds"), **limits)
        (job,) = together.jobs
        assert (job.payload["kind"], job.deadline) == ("cohort", 100.0 * count)
        assert [spec["seed"] for spec in job.payload["specs"]] == list(range(count)) and "spec" not in job.payload


def test_each_seed_of_a_job_has_its_own_outcome_and_none_where_their_number_is_wrong(tmp_path: Path) -> None:
    ends = [completed(), DONE, {**DONE, "status": "oom"}]
    for count, expected in ((3, ["completed", "error", "oom"]), (2, ["error"] * 3)):
        planned = trials(3, engine="seeds")
        one = swept(tmp_path / str(count), Engine(lambda job, n=count: {"outcomes": ends[:n]}), planned)
        assert [one.store.state(trial.spec) for trial in planned] == expected


@pytest.mark.parametrize("number", [-1, -9, -15])
def test_a_process_that_was_killed_or_hung_up_on_is_continued_and_its_tries_are_counted(
    number: int, tmp_path: Path
) -> None:
    ends = iter([WorkerDied("it was killed", number), WorkerDied("it ended by itself", 1)])
    one = swept(tmp_path, Engine(lambda job: next(ends)), trials(1))
    (trial,) = trials(1)
    assert one.store.state(trial.spec) == "crashed"
    record = json.loads((one.store.folder(trial.spec) / "record.json").read_text())
    assert record["reason"] == "it ended by itself, 2 times"


def test_a_disk_that_cannot_be_written_ends_the_sweep_and_is_no_trials_failure(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no space"):
        swept(tmp_path, Engine(lambda job: {"unwritable": "no space"}), trials(1))
    assert list(tmp_path.rglob("record.json")) == []


def test_a_sweep_that_a_disk_ends_leaves_signals_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = scheduler.run_jobs
    monkeypatch.setattr(
        scheduler, "run_jobs", lambda *a, **k: made.append(real(*a, **k)) or made[-1]
    )  # held, not freed
    with pytest.raises(StoreError, match="no space"):
        swept(tmp_path, Engine(lambda job: {"unwritable": "no space"}), trials(2))
    assert made and not signals._graceful


def test_every_new_record_is_handed_on_with_its_cost_and_one_that_cannot_be_kept_costs_nothing(tmp_path: Path) -> None:
    handed: list[Any] = []
    ends = [completed({"wall_seconds": 2.0}), {**completed({"wall_seconds": 2.0}), "values": {"fid": math.nan}}]
    engine = Engine(lambda job: ends[job.payload["spec"]["seed"]])
    one = swept(tmp_path, engine, trials(2), finished=lambda record, folder: handed.append(record))
    assert len(handed) == 2 and one.display.costs == [{"wall_seconds": 2.0}, {}]


def test_progress_is_told_once_a_line_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    evaluation = {"step": 5, "images_seen": 320, "values": {"fid": 2.0}}
    lines = [
        [
            json.dumps({"evaluation": evaluation}),
            '{"images": "many"}',
            "[1]",
            "\x00",
            '{"images": 384}',
            '{"images": 4',
        ],
        ["48}", json.dumps({"evaluation": evaluation}), json.dumps({"evaluation": evaluation | {"images_seen": 640}})],
    ]
    ends = iter([killed(), DONE])

    def job(job: Job) -> Any:
        text = "\n".join(lines.pop(0))
        wrote(job, text if lines else text + "\n")
        return next(ends)

    observed: list[int] = []
    one = swept(tmp_path, Engine(job), trials(1), observed=lambda spec, entry: observed.append(entry["images_seen"]))
    assert one.display.images == [(0, images) for images in (320, 384, 448, 320, 640)]
    assert observed == [320, 640]  # a continued trial repeats what came after its checkpoint


def test_of_many_running_trials_those_that_were_looked_at_longest_ago_are_looked_at_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MOST_READ", 2)
    monkeypatch.setattr(running, "POLL_SECONDS", 0.2)
    engine = Engine(lambda job: wrote(job, '{"images": 64}\n'))
    times: dict[int, float] = {}

    def ended() -> None:
        for future in engine.futures:
            if not future.done():
                future.set_result(DONE)

    class Watching(Told):
        def progress(self, trial: Planned, images: int, evaluation: dict[str, Any] | None) -> None:
            times.setdefault(trial.spec.seed, time.monotonic())
            if len(times) == 6:
                ended()

    late = threading.Timer(20, ended)
    late.start()
    sweep = Sweep(Store(tmp_path), engine, Request(("v",)), Plan(trials(6), [], []), Watching())
    sweep.run()
    on_time = late.is_alive()
    late.cancel()
    seen = sorted(times.values())
    assert on_time and len(times) == 6 and sweep.statuses == {"error": 6}
    assert seen[4] - seen[0] > 0.2  # two at a time


def test_progress_is_read_no_more_often_than_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "POLL_SECONDS", 1e6)
    looks: set[int] = set()

    def job(job: Job) -> Any:
        wrote(engine.jobs[0], '{"images": 64}\n')
        if len(engine.jobs) == 5:
            engine.futures[0].set_result(DONE)
        return None if len(engine.jobs) == 1 else DONE

    class Watching(Told):
        def progress(self, trial: Planned, images: int, evaluation: dict[str, Any] | None) -> None:
            if trial.spec.seed == 0:
                looks.add(len(engine.jobs))

    engine = Engine(job)
    Sweep(Store(tmp_path), engine, Request(("v",)), Plan(trials(5), [], []), Watching()).run()
    assert len(looks) == 2  # the first look, and the last one when it had ended


def test_a_sweep_that_is_to_stop_begins_nothing_and_cancels_what_waits_in_the_engine(tmp_path: Path, asked) -> None:
    engine = Engine(lambda job: asked() if len(engine.jobs) == 2 else None)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path, engine, trials(3))
    assert engine.seeds == [0, 1] and all(future.cancelled() for future in engine.futures)
    assert time.monotonic() - start < running.STOP_SECONDS and list(tmp_path.rglob("record.json")) == []
