"""What the scheduler does with trials whose processes are killed or asked to stop."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganbench.executors import EngineLost, Job, MachineLost, WorkerDied
from ganbench.results.schema import Reference
from ganbench.results.spec import Planned, Protocol, TrialSpec
from ganbench.results.store import Store
from ganbench.runner.planning import Plan, Request
from ganbench.runner.preflight import Known, reference_key
from ganbench.runner.scheduler import Sweep
from ganbench.utils import signals
from ganbench.utils.errors import UsageError

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
    one._read_progress = lambda state: asked()  # the signal comes while it trains
    with pytest.raises(KeyboardInterrupt):
        one._run([[trial]])
    assert executor.asked == 3 and one.store.find(trial.spec) is None
    assert len(one.display.notes) == 1 and "stopping" in one.display.notes[0]
    assert not signals._gentle


def test_what_dies_while_a_sweep_stops_is_neither_tried_again_nor_recorded(tmp_path: Path, asked) -> None:
    executor = Scripted([(0, WorkerDied("its process ended by itself with exit code 255", 255))])
    one, trial = sweep(tmp_path, executor)
    one._read_progress = lambda state: asked()
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
    collect, most = one._collect, []

    def collecting(running: dict[Future[dict[str, Any]], Any], seconds: float) -> None:
        most.append(len(running))
        next(iter(running)).set_result(DONE)
        collect(running, 0)

    one._collect = collecting
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
