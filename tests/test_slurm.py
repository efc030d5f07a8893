"""Sweeps on a real SLURM of one node, which the test starts on this machine: daemons as root, without munge, and
without accounting. It needs Debian's slurmctld, slurmd, slurm-client, slurm-wlm-basic-plugins and libmunge2.

    pytest -m slow tests/test_slurm.py
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganbench.executors import Job, OutOfMemory, batch
from ganbench.executors.slurm import Submitted, _loss

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'ganbench[slurm]'")

SHORT = ("run", "-p", "vanilla", "-d", "ring8", "--images", "1280", "--evaluations", "2", "--samples", "100")
SHORT = (*SHORT, "--metrics", "coverage", "--seeds", "2")
LONG = ("run", "-p", "vanilla", "-d", "ring8", "--images", "64000", "--evaluations", "5", "--metrics", "coverage")
LONG = (*LONG, "--seeds", "2")
DAEMONS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={other}
AuthType=auth/none
CryptoType=crypto/none
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 Sockets=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=2000
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables under which SLURM's commands speak with the cluster."""
    missing = [command for command in DAEMONS if shutil.which(command) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"SLURM cannot be started here: {', '.join(missing) or 'only root may'}")
    if (os.cpu_count() or 1) < 2:
        pytest.skip("its node has two cores")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ports = []
    for _ in range(2):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
    text = CONFIGURATION.format(host=socket.gethostname(), port=ports[0], other=ports[1], folder=folder)
    (folder / "slurm.conf").write_text(text)
    environment = {"SLURM_CONF": str(folder / "slurm.conf"), "XDG_CACHE_HOME": str(folder / "cache")}
    daemons = [
        subprocess.Popen(
            [*command, "-D", "-f", str(folder / "slurm.conf")],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in (["slurmctld", "-c"], ["slurmd", "-N", socket.gethostname()])
    ]
    ends = time.monotonic() + 60
    while (
        "idle"
        not in subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env={**os.environ, **environment}, capture_output=True, text=True
        ).stdout.split()
    ):
        if time.monotonic() > ends or any(daemon.poll() is not None for daemon in daemons):
            for daemon in daemons:
                daemon.kill()
            log = (folder / "slurmctld.log").read_text()[-1000:] + (folder / "slurmd.log").read_text()[-1000:]
            pytest.skip(f"SLURM did not start here: {log}")
        time.sleep(0.5)
    yield environment
    for daemon in reversed(daemons):
        daemon.terminate()
        daemon.wait()


def same(one: Path, other: Path) -> None:
    """Every record and table has the same bytes."""
    records = sorted(path.relative_to(one) for path in one.glob("*/*/*/record.json"))
    assert records and records == sorted(path.relative_to(other) for path in other.glob("*/*/*/record.json"))
    for name in ("leaderboard.csv", "trials.csv", *records):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def jobs(slurm: dict[str, str], *options: str) -> list[list[str]]:
    """Number and state of every job in the queue."""
    command = ["squeue", "--noheader", "--format=%i %T", *options]
    found = subprocess.run(command, env={**os.environ, **slurm}, capture_output=True, text=True, check=True)
    return [line.split() for line in found.stdout.splitlines()]


def worker(slurm: dict[str, str]) -> int:
    """A process of submitit that runs a trial."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            mine = b"submitit.core._submit" in words and slurm["XDG_CACHE_HOME"].encode() in b" ".join(words)
            if mine and b"python" in words[0]:  # not srun, which has the same words
                return int(path.parent.name)
    raise AssertionError("no worker runs")


def background(folder: Path, slurm: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ganbench", *arguments, "--executor", "slurm"]
    environment = {**os.environ, **slurm, "GANBENCH_CHECKPOINT_SECONDS": "0.2"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE, start_new_session=True
    )


def until_checkpoint(results: Path) -> None:
    ends = time.monotonic() + 200
    while not list(results.glob("*/*/*/checkpoint.safetensors")):
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.slow
def test_a_sweep_on_slurm_has_the_bytes_of_a_local_one(slurm, ganbench, tmp_path: Path) -> None:
    assert ganbench(*SHORT, "--results", "here").returncode == 0
    there = ganbench(*SHORT, "--results", "there", "--executor", "slurm", "--timeout", "600", **slurm)
    assert there.returncode == 0, there.stderr
    assert "SLURM accounting is off here" in there.stderr and "--timeout" in there.stderr
    same(tmp_path / "here", tmp_path / "there")
    assert not list(Path(slurm["XDG_CACHE_HOME"], "ganbench", "slurm").iterdir())


@pytest.mark.slow
def test_a_killed_job_is_noticed_without_accounting_and_tried_again(slurm, ganbench, tmp_path: Path) -> None:
    assert ganbench(*LONG, "--results", "here").returncode == 0
    driver = background(tmp_path, slurm, *LONG, "--results", "there")
    until_checkpoint(tmp_path / "there")
    os.kill(worker(slurm), signal.SIGKILL)
    said = driver.communicate(timeout=400)[1]
    assert driver.returncode == 0 and "continuing it (attempt 2 of 3)" in said, said
    same(tmp_path / "here", tmp_path / "there")


@pytest.mark.slow
def test_a_trial_has_its_own_deadline(slurm, ganbench, tmp_path: Path) -> None:
    endless = (*LONG, "--images", "100000000", "--timeout", "40", "--results", "there")
    result = ganbench(*endless, "--executor", "slurm", **slurm)
    assert result.returncode == 1, result.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("there/*/*/*/record.json")]
    ends = [(record["status"], record["reason"]) for record in records]
    assert ends == [("timeout", "it ran longer than 40 s")] * 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_cancelled_driver_can_be_continued(slurm, ganbench, tmp_path: Path, number: int) -> None:
    assert ganbench(*LONG, "--results", "here").returncode == 0
    driver = background(tmp_path, slurm, *LONG, "--results", "there")
    until_checkpoint(tmp_path / "there")
    driver.send_signal(number)
    said = driver.communicate(timeout=200)[1]
    assert driver.returncode == (130 if number == signal.SIGINT else -number), said
    if number == signal.SIGINT:
        assert not jobs(slurm) and "did not stop in time" not in said
    again = ganbench(*LONG, "--results", "there", "--executor", "slurm", **slurm)
    assert again.returncode == 0, again.stderr
    assert ("an earlier sweep left behind" in again.stderr) == (number == signal.SIGKILL)
    same(tmp_path / "here", tmp_path / "there")
    assert not jobs(slurm)


@pytest.mark.slow
def test_what_slurm_cannot_do_is_said_in_one_line(slurm, ganbench) -> None:
    for arguments, what in (
        (("--gpus-per-trial", "0.5"), "whole GPUs"),
        (("--executor-option", "partition=nowhere"), "partition"),
        (("--address", "auto"), "--address is not for SLURM"),
    ):
        result = ganbench(*SHORT, "--executor", "slurm", *arguments, **slurm)
        assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
        assert what in result.stderr.splitlines()[-1]


def test_a_machine_without_slurm_is_named(ganbench, tmp_path: Path) -> None:
    result = ganbench(*SHORT, "--executor", "slurm", PATH=str(tmp_path))
    assert result.returncode == 2 and "has no sbatch" in result.stderr and "login node" in result.stderr


@pytest.mark.parametrize(
    ("state", "kind", "exit_code"),
    [
        ("OUT_OF_MEMORY", "OutOfMemory", -signal.SIGKILL),
        ("CANCELLED", "WorkerDied", -signal.SIGTERM),
        ("NODE_FAIL", "MachineLost", None),
        ("PREEMPTED", "MachineLost", None),
        ("FAILED", "MachineLost", None),
        ("TIMEOUT", "MachineLost", None),
        ("GONE", "MachineLost", None),
    ],
)
def test_how_a_job_was_lost(state: str, kind: str, exit_code: int | None) -> None:
    found = _loss("7", Submitted(Job({}), None, None, state))
    assert type(found).__name__ == kind and found.exit_code == exit_code and "SLURM job 7" in str(found)
    assert isinstance(found, OutOfMemory) == (kind == "OutOfMemory")


def test_a_silent_controller_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert batch.states("ganbench-x") is None and batch.why_no_accounting() == "sacct does not answer"
