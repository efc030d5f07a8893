"""Jobs on other machines, without a cluster: how they travel, what refuses them, and the process that runs them."""

from __future__ import annotations

import json
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ganbench.executors import DeadlineExceeded, Job, MachineLost, WorkerDied, load_executor, remote
from ganbench.executors.host import answer
from ganbench.executors.ray import _fit
from ganbench.executors.remote import Host, incoming, outgoing, refusal
from ganbench.runner.planning import Request, plan
from ganbench.runner.preflight import ask
from ganbench.utils.errors import UsageError

ASK = {
    "kind": "dataset",
    "dataset": "ring8",
    "extractor": None,
    "weights": None,
    "samples": 100,
    "curve_samples": None,
    "metrics": ["coverage"],
}
ASK = {**ASK, "device": "auto", "threads": 1}


def test_other_versions_are_refused_and_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    message = outgoing(Job(ASK), 1)
    assert refusal(message) is None
    monkeypatch.setitem(message["versions"], "ganbench", "9.9")
    why = refusal(message)
    assert why is not None and "ganbench is 9.9" in why and f"{remote.__version__} on the worker" in why
    with pytest.raises(UsageError, match=r"9\.9"):
        incoming({"refused": why})


def test_a_missing_plugin_matters_to_its_own_trials() -> None:
    message = outgoing(Job({**ASK, "needs": ["ganbench", "ganbench-far"]}), 1)
    message["versions"]["ganbench-other"] = "1.0"
    assert refusal(message) is None
    message["versions"]["ganbench-far"] = "1.0"
    assert "ganbench-far is 1.0" in str(refusal(message)) and "missing on the worker" in str(refusal(message))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What an engine calls on another machine starts a host of its own here."""
    monkeypatch.setattr(remote, "_host", None)
    yield
    if remote._host is not None:
        remote._host.close()


@pytest.mark.parametrize("what", ["source", "dataset_hash"])
def test_other_code_or_data_of_the_same_version_is_refused(elsewhere, what: str, tmp_path: Path) -> None:
    def ask(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [incoming(remote.run(outgoing(Job(job), 1))) for job in jobs]

    request = Request(("noise",), ("ring8",), (0,), images=64, evaluations=1, samples=100, metrics=("coverage",))
    (trial,) = plan(request, ask).trials
    assert trial.needs == ("ganbench",)
    payload = {"kind": "trial", "metrics": ["coverage"], "device": "cpu", "threads": 1, "folder": str(tmp_path)}
    (sound,) = ask([{**payload, "spec": trial.spec.payload()}])
    assert sound["status"] == "completed"
    (other,) = ask([{**payload, "spec": {**trial.spec.payload(), what: "0" * 64}}])
    assert other["usage"] and f"on the worker {platform.node()}" in other["failed"]
    assert "the code of noise is not what" in other["failed"] or "dataset ring8 returned other data" in other["failed"]


def test_a_folder_that_a_worker_does_not_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SHARED_SECONDS", 0.2)
    assert refusal(outgoing(Job({**ASK, "folder": str(tmp_path)}), 1)) is None
    why = str(refusal(outgoing(Job({**ASK, "folder": str(tmp_path / "elsewhere")}), 1)))
    assert "elsewhere" in why and "--storage" in why


def test_a_file_that_a_worker_does_not_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here.py").touch()
    monkeypatch.setenv("GANBENCH_PLUGIN_PATH", str(tmp_path / "here.py"))
    assert refusal(outgoing(Job(ASK), 1)) is None
    monkeypatch.setenv("GANBENCH_PLUGIN_PATH", f"{tmp_path / 'here.py'}{os.pathsep}{tmp_path / 'there.py'}")
    assert "there.py, which --plugin-path names" in str(refusal(outgoing(Job(ASK), 1)))


def test_whatever_keeps_a_job_from_running_is_an_answer() -> None:
    future: Future[dict[str, Any]] = Future()
    future.set_exception(OSError(24, "Too many open files"))
    with pytest.raises(MachineLost, match="Too many open files"):
        incoming(json.loads(json.dumps(answer(future))))


def test_checkpoints_are_rarer_on_a_shared_file_system_and_settings_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANBENCH_CHECKPOINT_SECONDS", raising=False)
    monkeypatch.setenv("GANBENCH_DATA", "/data")
    found = json.loads(json.dumps(outgoing(Job(ASK), 1)))["environment"]
    assert found["GANBENCH_CHECKPOINT_SECONDS"] == "60" and found["GANBENCH_DATA"] == "/data"
    monkeypatch.setenv("GANBENCH_CHECKPOINT_SECONDS", "7")
    assert outgoing(Job(ASK), 1)["environment"]["GANBENCH_CHECKPOINT_SECONDS"] == "7"


@pytest.fixture
def host() -> Iterator[Host]:
    one = Host(1, {})
    yield one
    one.close()


def test_a_host_serves_job_after_job_until_it_is_killed(host: Host) -> None:
    def ask(**payload: Any) -> dict[str, Any]:
        return incoming(host.run(outgoing(Job({**ASK, **payload}, deadline=payload.get("deadline")), 1)))

    assert ask()["name"] == "ring8"
    assert "there is no dataset" in ask(dataset="ring9")["failed"]
    with pytest.raises(DeadlineExceeded, match=r"0\.001 s"):
        ask(deadline=0.001)
    assert ask()["name"] == "ring8" and host.alive
    threading.Timer(0.05, os.kill, (host._process.pid, signal.SIGKILL)).start()
    with pytest.raises(MachineLost, match="killed"):
        for _ in range(1000):
            ask()
    assert not host.alive


def test_losses_come_back_as_what_they_were() -> None:
    with pytest.raises(WorkerDied, match="by itself") as lost:
        incoming({"lost": ["WorkerDied", "its process ended by itself with exit code 3", 3]})
    assert lost.value.exit_code == 3 and not isinstance(lost.value, MachineLost)


def test_a_gpu_that_was_not_asked_for_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    class Recorder:
        alive, about = True, (1, outgoing(Job(ASK), 1)["environment"])

        def run(self, message: dict[str, Any]) -> dict[str, Any]:
            sent.append(message)
            return {"result": {}}

    monkeypatch.setattr(remote, "_host", Recorder())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    remote.run(outgoing(Job(ASK, gpus=0.25), 1))
    remote.run(outgoing(Job(ASK), 1))
    assert [message["payload"]["visible_gpus"] for message in sent] == ["3", ""]


def test_a_machine_that_starts_no_process_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_host", None)
    monkeypatch.setattr(remote.sys, "executable", "/nowhere/python")
    with pytest.raises(MachineLost, match=f"{remote.platform.node()} starts no process for it .No such file"):
        incoming(remote.run(outgoing(Job(ASK), 1)))


def test_a_machine_that_is_lost_while_it_is_asked_costs_another_try() -> None:
    class Lossy:
        isolated = remote = True
        window = 1

        def __init__(self, losses: int) -> None:
            self.losses = losses

        def submit(self, job: Job) -> Future[dict[str, Any]]:
            future: Future[dict[str, Any]] = Future()
            self.losses -= 1
            if self.losses < 0:
                future.set_result({"name": "ring8"})
            else:
                future.set_exception(MachineLost("its node was lost"))
            return future

    assert ask(Lossy(1), [ASK]) == [{"name": "ring8"}]
    with pytest.raises(UsageError, match="dataset ring8 cannot be used: its node was lost, 3 times while"):
        ask(Lossy(3), [ASK])


def test_room_is_what_a_node_has_of_everything_that_is_asked_for() -> None:
    node = {"CPU": 16.0, "GPU": 2.0, "memory": 64e9}
    assert [_fit(node, shape) for shape in ((2, 0.25, 0), (2, 0, 0), (1, 0, 20e9), (1, 0.1, 0))] == [8, 8, 3, 16]
    assert [_fit(node, shape) for shape in ((17, 0, 0), (1, 0, 65e9))] == [0, 0]
    assert _fit({"CPU": 16.0}, (1, 0.25, 0)) == 0


@pytest.mark.parametrize("name", ["local", "inline"])
def test_an_option_that_an_engine_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="has no option 'address'"):
        load_executor(name, 1, 1, {"address": "auto"})


def test_resources_are_for_clusters(ganbench) -> None:
    result = ganbench("run", "-p", "noise", "-d", "ring8", "--gpus-per-trial", "0.5")
    assert result.returncode == 2 and "--gpus-per-trial" in result.stderr and "ray" in result.stderr


def test_a_process_that_runs_a_trial_ends_with_its_engine(host: Host) -> None:
    host.run(outgoing(Job(ASK), 1))
    children = Path(f"/proc/{host._process.pid}/task/{host._process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children")
    forkserver = [int(pid) for pid in children.read_text().split()]
    assert forkserver
    host._process.stdin.close()  # as when the engine's process is killed
    ends = time.monotonic() + 60
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in (*forkserver, host._process.pid)):
        host._process.poll()
        assert time.monotonic() < ends
        time.sleep(0.1)
