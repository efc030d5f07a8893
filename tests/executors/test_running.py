"""How jobs are submitted, tried again and stopped, and what each end is called."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from ganbench.executors import (
    DeadlineExceeded,
    EngineLost,
    Job,
    MachineLost,
    MemoryExceeded,
    OutOfMemory,
    WorkerDied,
    local,
    running,
)
from ganbench.executors.local import LocalExecutor
from ganbench.executors.running import ATTEMPTS, End, OnInterrupt, run_jobs, run_one_job
from ganbench.utils import signals
from ganbench.utils.errors import UsageError


class Engine:
    """``answer`` says what a job returns or raises; None leaves it running."""

    isolated = True
    remote = False

    def __init__(self, answer: Callable[[Any], Any], window: int = 2) -> None:
        self.answer, self.window, self.slots = answer, window, window
        self.submitted: list[Any] = []
        self.futures: dict[Any, Future[dict[str, Any]]] = {}
        self.stopped = 0

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        task = job.payload["task"]
        self.submitted.append(task)
        future: Future[dict[str, Any]] = Future()
        future.set_running_or_notify_cancel()
        self.futures[task] = future
        end = self.answer(task)
        if isinstance(end, BaseException):
            future.set_exception(end)
        elif end is not None:
            future.set_result(end)
        return future

    def stop(self) -> None:
        self.stopped += 1


def make_job(task: Any) -> Job:
    return Job({"task": task})


@pytest.fixture
def ask_to_stop(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ask this process to stop, until the test ends."""
    monkeypatch.setattr(signals, "_requested", None)
    return lambda: monkeypatch.setattr(signals, "_requested", 1.0)


KILLED = WorkerDied("its process was killed by SIGKILL", -9)


@pytest.mark.parametrize(
    ("end", "how", "reason", "attempts", "lost"),
    [
        ({"value": 1}, End.RETURNED, "", 1, False),
        ({"failed": "ValueError: no", "usage": False}, End.FAILED, "ValueError: no", 1, False),
        ({"failed": "there is no such metric", "usage": True}, End.USAGE, "there is no such metric", 1, False),
        ({"unwritable": "no space"}, End.UNWRITABLE, "no space", 1, False),
        ({"interrupted": True}, End.INTERRUPTED, "it was stopped 3 times before it got any further", 3, True),
        (DeadlineExceeded("it ran longer than 1 s"), End.DEADLINE, "it ran longer than 1 s", 1, True),
        (MemoryExceeded("it held more"), End.MEMORY, "it held more", 1, True),
        (WorkerDied("it ended by itself", 1), End.DIED, "it ended by itself", 1, True),
        (WorkerDied("nobody knows", None), End.DIED, "nobody knows", 1, True),
        (KILLED, End.KILLED, "its process was killed by SIGKILL, 3 times", 3, True),
        (OutOfMemory("for want of memory", -9), End.OUT_OF_MEMORY, "for want of memory, 3 times", 3, True),
        (MachineLost("its node was lost"), End.MACHINE_LOST, "its node was lost, 3 times", 3, True),
        (CancelledError(), End.ENGINE_FAULT, "its executor lost it: CancelledError", 1, True),
        (RuntimeError("it broke"), End.ENGINE_FAULT, "its executor lost it: RuntimeError: it broke", 1, True),
        ([1], End.ENGINE_FAULT, "its executor returned no result but list", 1, True),
    ],
)
def test_how_a_job_ended(end: Any, how: End, reason: str, attempts: int, lost: bool) -> None:
    engine = Engine(lambda task: end)
    ended = run_one_job(engine, make_job(0))
    assert (ended.how, ended.reason, ended.lost) == (how, reason, lost)
    assert ended.returned == (how is End.RETURNED) and ended.result == (end if ended.returned else {})
    assert engine.submitted == [0] * attempts and (attempts == 1 or attempts == ATTEMPTS)


@pytest.mark.parametrize("lost", [EngineLost("the cluster is gone"), UsageError("ganbench is 1 here and 2 there")])
def test_nothing_more_is_submitted_where_no_job_can_run(lost: Exception) -> None:
    engine = Engine(lambda task: lost)
    with pytest.raises(type(lost)):
        list(run_jobs(engine, range(5), make_job))
    assert engine.submitted == [0]


def test_attempts_count_anew_where_a_task_got_further_and_the_user_is_told_of_each() -> None:
    reached = iter([0, 5, 5, 9])
    ends = iter([KILLED, KILLED, KILLED, {"value": 1}])
    notes: list[str] = []
    engine = Engine(lambda task: next(ends))
    ((task, ended),) = run_jobs(
        engine, ["a"], make_job, title=str.upper, note=notes.append, progress=lambda task: next(reached)
    )
    assert (task, ended.how) == ("a", End.RETURNED)
    assert notes == [
        f"A: its process was killed by SIGKILL; trying it again (attempt {n} of {ATTEMPTS})" for n in (2, 2, 3)
    ]


def test_tasks_come_back_as_they_end_and_no_more_run_than_the_engine_has_use_for() -> None:
    most: list[int] = []

    def answer(task: int) -> None:
        most.append(sum(not future.done() for future in engine.futures.values()))
        threading.Timer(0.2 if task == 0 else 0.02, engine.futures[task].set_result, [{"task": task}]).start()

    engine = Engine(answer, window=2)
    order = [task for task, ended in run_jobs(engine, range(4), make_job) if ended.result["task"] == task]
    assert sorted(order) == [0, 1, 2, 3] and order[-1] == 0 and max(most) == 2


def test_jobs_are_made_when_their_turn_comes_and_all_that_run_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "POLL_SECONDS", 0.01)
    made: list[int] = []
    engine = Engine(lambda task: None, window=2)

    def making(task: int) -> Job:
        made.append(task)
        return make_job(task)

    def watch(tasks: list[int]) -> None:
        assert made == list(range(max(tasks) + 1)) and len(tasks) <= 2
        for task in tasks:
            if not engine.futures[task].done():
                engine.futures[task].set_result({})

    assert len(list(run_jobs(engine, range(5), making, watch=watch))) == 5


@pytest.mark.parametrize(
    ("how", "told", "stopped"),
    [
        (OnInterrupt.ABANDON, [], False),
        (
            OnInterrupt.FINISH,
            [
                "stopping: what runs is finished, within 0.1 s; Ctrl-C again ends it at once",
                "1: it did not stop in time",
            ],
            False,
        ),
        (
            OnInterrupt.CHECKPOINT,
            [
                "stopping: what runs writes a checkpoint, within 0.1 s; Ctrl-C again ends it at once",
                "1: it did not stop in time; its last checkpoint is used",
            ],
            True,
        ),
    ],
)
def test_an_interrupt_begins_nothing_and_gives_what_runs_its_time(
    how: OnInterrupt, told: list[str], stopped: bool, monkeypatch: pytest.MonkeyPatch, ask_to_stop: Callable[[], None]
) -> None:
    monkeypatch.setattr(running, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(running, "POLL_SECONDS", 0.05)
    engine = Engine(lambda task: ask_to_stop() if task == 1 else {})
    notes: list[str] = []
    ended = []
    with pytest.raises(KeyboardInterrupt):
        for task, _ in run_jobs(engine, range(4), make_job, on_interrupt=how, note=notes.append):
            ended.append(task)
    assert engine.submitted == [0, 1] and ended == [0]
    assert notes == told and bool(engine.stopped) == stopped and not signals._graceful


def test_a_job_that_ends_in_time_is_yielded_and_one_that_the_interrupt_killed_is_not(
    monkeypatch: pytest.MonkeyPatch, ask_to_stop: Callable[[], None]
) -> None:
    monkeypatch.setattr(running, "POLL_SECONDS", 0.05)
    engine = Engine(lambda task: ask_to_stop() if task == 2 else None, window=3)

    def stop() -> None:
        ends = ({"value": 1}, {"interrupted": True}, WorkerDied("ended", 255))
        for future, end in zip(engine.futures.values(), ends, strict=True):
            if not future.done():
                future.set_exception(end) if isinstance(end, Exception) else future.set_result(end)

    engine.stop = stop
    ended = []
    with pytest.raises(KeyboardInterrupt):
        for task, end in run_jobs(engine, range(3), make_job, on_interrupt=OnInterrupt.CHECKPOINT):
            ended.append((task, end.result))
    assert ended == [(0, {"value": 1})] and engine.submitted == [0, 1, 2]


def test_what_fails_in_the_middle_leaves_signals_as_they_were() -> None:
    engine = Engine(lambda task: {})
    with pytest.raises(ZeroDivisionError):
        for _ in run_jobs(engine, range(3), make_job, on_interrupt=OnInterrupt.FINISH):
            assert signals._graceful
            1 / 0  # noqa: B018
    assert not signals._graceful


def test_a_second_request_to_stop_may_come_while_the_first_is_carried_out() -> None:
    """A signal's handler runs in the thread that it interrupts, here one that holds the lock of all local jobs."""
    stopped = threading.Event()

    def stop_twice() -> None:
        with local._LOCK:
            LocalExecutor.stop(object.__new__(LocalExecutor))
            stopped.set()

    threading.Thread(target=stop_twice, daemon=True).start()
    assert stopped.wait(10)
