"""GPUs that a trial is given and would not use, or wants and is not given: said before anything trains."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ganbench.executors import Job, remote, slurm_commands, slurm_job
from ganbench.executors.ray import RayExecutor
from ganbench.executors.remote import outgoing
from ganbench.executors.slurm import SlurmExecutor
from ganbench.runner.planning import Request
from ganbench.runner.session import EngineOptions, Session, unused_gpus
from ganbench.utils.errors import UsageError

VARIABLES = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def nothing_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def job(device: str = "auto", gpus: float = 0) -> Job:
    return Job({"kind": "variant", "device": device}, gpus=gpus)


def slurm(**options: str) -> SlurmExecutor:
    engine = object.__new__(SlurmExecutor)
    engine._options = {name.replace("_", "-"): value for name, value in options.items()}
    engine._names_gpus = SlurmExecutor.naming_gpus(engine._options)
    return engine


@pytest.mark.parametrize(
    "options",
    [{"gres": "gpu:1"}, {"gres": "gpu:a100:2"}, {"gpus": "1"}, {"gpus-per-node": "1"}, {"gpus-per-task": "a100:1"}]
    + [{"tres-per-task": "gres/gpu:1"}, {"gpus_per_node": "1"}],
)
def test_a_batch_job_with_gpus_for_trials_without_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--gpus-per-trial 1"):
        slurm(**options)._check_gpus(job())
    slurm(**options)._check_gpus(job(gpus=1))


@pytest.mark.parametrize("options", [{}, {"gres": "lustre:1"}, {"account": "gpu"}, {"cpus-per-gpu": "4"}])
def test_other_options_of_sbatch_are_none_of_gpus(options: dict[str, str]) -> None:
    slurm(**options)._check_gpus(job())


def test_a_partition_of_gpus_for_trials_without_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"gpu": "gpu:a100:8\ngpu:h100:4\n", "mixed": "gpu:a100:8\n(null)\n", "cpu": "(null)\n", "none": ""}

    def call(*command: str) -> Any:
        partition = command[-1].partition("=")[2]
        return subprocess.CompletedProcess(command, 0, said[partition], "")

    monkeypatch.setattr(slurm_commands, "_call", call)
    for partition in ("mixed", "cpu", "none"):
        slurm(partition=partition)._check_gpus(job())
    slurm(partition="gpu")._check_gpus(job("cpu"))
    slurm(partition="gpu")._check_gpus(job(gpus=1))
    assert capsys.readouterr().err == ""
    slurm(partition="gpu")._check_gpus(job())
    told = capsys.readouterr().err
    assert "partition gpu have GPUs (gpu:a100:8, gpu:h100:4)" in told and "--gpus-per-trial 1" in told


def test_a_trial_that_would_leave_its_gpu_idle_is_refused_on_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_job, "run", lambda message: {"result": {}})
    monkeypatch.setattr(slurm_job.signal, "signal", lambda *_: None)
    assert slurm_job.work(outgoing(job(), 1)) == {"result": {}}
    for name in VARIABLES[:2]:
        monkeypatch.setenv(name, "2")
        refused = slurm_job.work(outgoing(job(), 1))["refused"]
        assert "SLURM gave a trial GPU 2" in refused and "--gpus-per-trial 1" in refused and "--device cpu" in refused
        with pytest.raises(UsageError):
            remote.incoming({"refused": refused})
        for fine in (job("cpu"), job(gpus=1), Job({"kind": "space"})):
            assert slurm_job.work(outgoing(fine, 1)) == {"result": {}}
        monkeypatch.delenv(name)


def test_gpus_of_a_ray_cluster_that_trials_do_not_use_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    engine = object.__new__(RayExecutor)
    engine._told_gpus, engine._nodes = False, [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}]
    for silent in (job("cpu"), job(gpus=0.5)):
        engine._say_unused_gpus(silent)
    assert capsys.readouterr().err == ""
    engine._say_unused_gpus(job())
    engine._say_unused_gpus(job())
    assert capsys.readouterr().err.count("have 2 GPUs, and trials run on their CPUs") == 1


@pytest.mark.parametrize(
    ("device", "variables", "said"),
    [
        ("auto", {}, None),
        ("auto", {"SLURM_JOB_GPUS": "0,1"}, "SLURM_JOB_GPUS=0,1"),
        ("auto", {"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}, "CUDA_VISIBLE_DEVICES=GPU-8932f937"),
        ("auto", {"CUDA_VISIBLE_DEVICES": ""}, None),
        ("auto", {"CUDA_VISIBLE_DEVICES": "-1"}, None),
        ("auto", {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, None),
        ("cpu", {"CUDA_VISIBLE_DEVICES": "0"}, None),
        ("cpu", {"SLURM_STEP_GPUS": "0"}, "SLURM_STEP_GPUS=0"),
    ],
)
def test_gpus_of_this_machine_that_trials_do_not_use_are_said(
    device: str, variables: dict[str, str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = unused_gpus(device)
    assert found is None if said is None else found is not None and found.startswith(said) and "on the CPU" in found


class Cluster:
    remote = isolated = True

    def close(self, cancel: bool = False) -> None: ...


def options(**about: Any) -> EngineOptions:
    empty = dict.fromkeys(EngineOptions.__dataclass_fields__)
    return EngineOptions(**{**empty, "executor": "ray", **about})


def test_on_a_cluster_a_device_needs_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    session = object.__new__(Session)
    session.options, session.engine, session.gpus = options(), Cluster(), 0.0
    with pytest.raises(UsageError, match=r"--device cuda with --executor ray: .* add --gpus-per-trial 1"):
        session.plan(Request(("noise",), device="cuda"))
    with pytest.raises(UsageError, match=r"write --gpus-per-trial 0\.25"):
        options(trials_per_gpu=4)._check(Cluster())
