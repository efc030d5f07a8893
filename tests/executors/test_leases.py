"""Which job gets which GPU, and when: the scheduler of ``run_jobs`` under a clock of the test's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from ganbench.executors import Job, running
from ganbench.executors.leases import Leases
from ganbench.executors.running import ATTEMPTS, End, Ended, run_jobs

EIGHT = [f"cuda:{n}" for n in range(8)]
LOST = {"device_fault": "DeviceLost", "reason": "cuda:3 of node cannot be used"}
CROWDED = {"device_fault": "Crowded", "reason": "CUDA out of memory: trials share cuda:0"}
DOUBTFUL = {"device_fault": "Doubtful", "reason": "CUDA error: unspecified launch failure"}
DONE: dict[str, Any] = {"done": True}


class Machine:
    """An engine whose jobs take the seconds that ``cost`` says, on a clock that jumps to the next end.

    ``answer`` says what a job returns on a device. What ran is in ``spans``: (task, device, start, end, alone).
    """

    isolated, remote, slots, window = True, False, 2, 2  # of the cores: GPUs are not counted by them

    def __init__(self, cost: Callable[[Any], float], answer: Callable[[Any, dict[str, Any]], Any]) -> None:
        self.cost, self.answer = cost, answer
        self.now = 0.0
        self.pending: list[tuple[float, int, Future[dict[str, Any]], Any]] = []
        self.spans: list[tuple[Any, str, float, float, bool]] = []
        self.payloads: list[dict[str, Any]] = []

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        future.set_running_or_notify_cancel()
        task, payload = job.payload["task"], job.payload
        end = self.now + self.cost(task)
        self.spans.append((task, payload.get("device", ""), self.now, end, payload.get("alone", False)))
        self.payloads.append(payload)
        self.pending.append((end, len(self.spans), future, self.answer(task, payload)))
        return future

    def stop(self) -> None: ...
    def close(self, cancel: bool = False) -> None: ...

    def wait(self, futures: Any, timeout: float | None, return_when: Any) -> tuple[set[Any], set[Any]]:
        if timeout:
            self.pending.sort(key=lambda one: one[:2])
            self.now, _, future, result = self.pending.pop(0)
            future.set_result(result)
        done = {future for future in futures if future.done()}
        return done, set(futures) - done

    def at(self, moment: float) -> Counter[str]:
        """How many jobs each device has at a time."""
        return Counter(device for _, device, start, end, _ in self.spans if start <= moment < end)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(
        tasks: Any,
        leases: Leases | None,
        cost: Callable[[Any], float] = lambda task: 1.0,
        answer: Callable[[Any, dict[str, Any]], Any] = lambda task, payload: DONE,
        gpus: float = 0,
        remote: bool = False,
    ) -> tuple[Machine, dict[Any, Ended], list[str]]:
        machine = Machine(cost, answer)
        machine.remote = remote
        monkeypatch.setattr(running, "wait", machine.wait)
        notes: list[str] = []
        made = lambda task: Job({"task": task, "device": "cuda"}, gpus=gpus)  # noqa: E731
        ended = dict(run_jobs(machine, tasks, made, leases=leases, note=notes.append))
        return machine, ended, notes

    return run


def uneven(task: tuple[int, int]) -> float:
    """Nineteen variants, the longest forty times as long as the shortest."""
    return 1.23 ** task[0]


@pytest.mark.parametrize("each", [1, 3])
def test_no_device_idles_while_trials_wait_and_none_is_shared_beyond_what_was_said(run, each: int) -> None:
    tasks = [(variant, seed) for variant in range(19) for seed in range(5)]
    machine, ended, _ = run(tasks, Leases(EIGHT, each), uneven)
    assert len(ended) == 95 and all(one.returned for one in ended.values())
    last_start = max(start for _, _, start, _, _ in machine.spans)
    for moment in {start for _, _, start, _, _ in machine.spans}:
        used = machine.at(moment)
        assert max(used.values()) <= each
        if moment < last_start:
            assert set(used) == set(EIGHT) and set(used.values()) == {each}, moment
    shares = {payload.get("fraction") for payload in machine.payloads}
    assert shares == ({None} if each == 1 else {1 / 3})


def test_the_queue_ends_near_the_shortest_time_where_a_binding_at_planning_does_not(run) -> None:
    tasks = [(variant, seed) for variant in range(19) for seed in range(5)]
    total = sum(map(uneven, tasks))
    shortest = max(total / 8, max(map(uneven, tasks)))
    bound = max(sum(uneven(task) for task in tasks[first::8]) for first in range(8))  # each in turn, as planned
    machine, _, _ = run(sorted(tasks, key=uneven, reverse=True), Leases(EIGHT), uneven)
    assert machine.now < 1.03 * shortest
    assert bound > 1.06 * machine.now
    machine, _, _ = run(tasks, Leases(EIGHT), uneven)  # lengths unknown, in the worst order: Graham's 2 - 1/8
    assert machine.now < (2 - 1 / 8) * shortest


def test_a_device_that_fails_is_put_aside_and_its_job_runs_on_another(run) -> None:
    answer = lambda task, payload: LOST if payload["device"] == "cuda:3" else DONE  # noqa: E731
    machine, ended, notes = run(range(40), Leases(EIGHT), answer=answer)
    assert all(one.returned for one in ended.values()) and len(ended) == 40
    assert [device for _, device, *_ in machine.spans].count("cuda:3") == 1
    assert "cuda:3 gets no more trials in this run" in notes[0] and "cuda:0, cuda:1, cuda:2, cuda:4" in notes[0]
    assert "cuda:3 was lost; trying it again" in notes[1] and len(notes) == 2


def test_where_no_device_is_left_the_rest_is_given_back_with_the_reason(run) -> None:
    answer = lambda task, payload: DONE if task < 2 else LOST  # noqa: E731
    _, ended, notes = run(range(10), Leases(EIGHT[:2]), answer=answer)
    assert len(ended) == 10
    assert {task for task, one in ended.items() if one.returned} == {0, 1}
    rest = [one for task, one in ended.items() if task > 1]
    assert {one.how for one in rest} == {End.DEVICE_LOST} and not any(one.lost for one in rest)
    assert "no GPU is left" in ended[9].reason and "cannot be used" in ended[9].reason
    assert "it was the last GPU" in notes[-1]


def test_one_trial_does_not_take_all_devices_with_it(run) -> None:
    answer = lambda task, payload: LOST if task == "bad" else DONE  # noqa: E731
    leases = Leases(EIGHT)
    _, ended, _ = run(["bad", *range(30)], leases, answer=answer)
    assert len(leases.aside) == ATTEMPTS and ended["bad"].how is End.DEVICE_LOST
    assert sum(one.returned for one in ended.values()) == 30


@pytest.mark.parametrize("first", [CROWDED, DOUBTFUL])
def test_what_others_on_a_device_may_have_caused_is_tried_again_alone(run, first: dict[str, Any]) -> None:
    answer = lambda task, payload: first if task == 5 and not payload.get("alone") else DONE  # noqa: E731
    machine, ended, notes = run(range(12), Leases(EIGHT[:2], 3), answer=answer, cost=lambda task: 1 + task / 10)
    assert all(one.returned for one in ended.values())
    ((_, device, start, end, _),) = [span for span in machine.spans if span[-1]]
    beside = [
        span for span in machine.spans if span[1] == device and not span[-1] and span[2] < end and span[3] > start
    ]
    assert beside == []
    (failed,) = [span for span in machine.spans if span[0] == 5 and not span[-1]]
    assert device != failed[1]
    alone = next(payload for payload in machine.payloads if payload.get("alone"))
    assert "fraction" not in alone and "shared" not in alone
    assert len(notes) == 1 and "it is tried again alone on a GPU" in notes[0]


def test_alone_and_again_crowded_it_is_not_judged(run) -> None:
    _, ended, _ = run(range(3), Leases(EIGHT[:1]), answer=lambda task, payload: CROWDED if task == 1 else DONE)
    assert ended[1].how is End.CROWDED and ended[1].device_fault
    assert ended[0].returned and ended[2].returned


def test_no_more_run_than_the_user_asked_for(run) -> None:
    machine, _, _ = run(range(20), Leases(EIGHT, 2, most=3))
    assert max(sum(machine.at(start).values()) for _, _, start, _, _ in machine.spans) == 3
    assert len({device for _, device, *_ in machine.spans}) == 3  # spread out, not stacked


def test_on_a_cluster_a_shared_gpu_is_asked_for_whole_and_a_lost_one_is_left_to_it(run) -> None:
    answers = {"crowded": [CROWDED, DONE], "lost": [LOST, LOST, DONE], "never": [LOST] * 3}
    machine, ended, _ = run(
        list(answers), None, answer=lambda task, payload: answers[task].pop(0), gpus=0.25, remote=True
    )
    assert ended["crowded"].returned and ended["lost"].returned and ended["never"].how is End.DEVICE_LOST
    assert [p.get("shared", False) for p in machine.payloads if p["task"] == "crowded"] == [True, False]


@pytest.mark.parametrize(
    ("leases", "spread"),
    [(Leases(EIGHT), 8), (Leases(EIGHT, 4), 8), (Leases(EIGHT, most=3), 3), (Leases(EIGHT, 4, most=12), 8)],
)
def test_jobs_are_spread_over_no_more_devices_than_run_at_a_time(leases: Leases, spread: int) -> None:
    assert leases.spread == spread
    leases.put_aside("cuda:0", "lost")
    assert leases.spread == min(spread, 7)


@pytest.mark.parametrize(
    ("leases", "said"),
    [
        (Leases(EIGHT), "8 GPUs (cuda:0 to cuda:7), one trial each"),
        (Leases(EIGHT[:2], 4), "2 GPUs (cuda:0, cuda:1), 4 trials each"),
        (Leases(["cuda:1"]), "cuda:1, one trial at a time"),
        (Leases(EIGHT, most=1), "cuda:0, one trial at a time"),
    ],
)
def test_devices_are_said_in_words(leases: Leases, said: str) -> None:
    assert str(leases) == said
