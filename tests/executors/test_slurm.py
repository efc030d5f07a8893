"""Sweeps on a real SLURM of one node, which the test starts on this machine: daemons as root, without munge, and
without accounting. It needs Debian's slurmctld, slurmd, slurm-client, slurm-wlm-basic-plugins and libmunge2.

    pytest -m slow tests/executors/test_slurm.py
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
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganbench.executors import Job, OutOfMemory, slurm_commands
from ganbench.executors.slurm_job import Submitted, loss

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


LIMITED = """#!/bin/bash
if [ $(squeue --noheader | wc -l) -gt 0 ]; then
    echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
    exit 1
fi
exec {sbatch} "$@"
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


@pytest.fixture
def ganbench(ganbench: Callable[..., Any]) -> Callable[..., Any]:
    """The command line, with time for a busy machine: each trial of a cluster starts a Python of its own with torch."""
    return partial(ganbench, timeout=1800)


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
    ends = time.monotonic() + 600
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
    said = driver.communicate(timeout=900)[1]
    assert driver.returncode == 0 and "continuing it (attempt 2 of 3)" in said, said
    same(tmp_path / "here", tmp_path / "there")


@pytest.mark.slow
def test_a_trial_has_its_own_deadline(slurm, ganbench, tmp_path: Path) -> None:
    endless = (*LONG, "--images", "100000000", "--timeout", "60", "--results", "there")
    result = ganbench(*endless, "--executor", "slurm", **slurm)
    assert result.returncode == 1, result.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("there/*/*/*/record.json")]
    ends = [(record["status"], record["reason"]) for record in records]
    assert ends == [("timeout", "it ran longer than 60 s")] * 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_cancelled_driver_can_be_continued(slurm, ganbench, tmp_path: Path, number: int) -> None:
    assert ganbench(*LONG, "--results", "here").returncode == 0
    driver = background(tmp_path, slurm, *LONG, "--results", "there")
    until_checkpoint(tmp_path / "there")
    driver.send_signal(number)
    said = driver.communicate(timeout=600)[1]
    assert driver.returncode == (130 if number == signal.SIGINT else -number), said
    if number == signal.SIGINT:
        assert not jobs(slurm) and "did not stop in time" not in said
    again = ganbench(*LONG, "--results", "there", "--executor", "slurm", **slurm)
    assert again.returncode == 0, again.stderr
    assert ("an earlier sweep left behind" in again.stderr) == (number == signal.SIGKILL)
    same(tmp_path / "here", tmp_path / "there")
    assert not jobs(slurm)


@pytest.mark.slow
def test_a_time_limit_of_the_cluster_costs_no_trial(slurm, tmp_path: Path) -> None:
    """SLURM ends each job after a minute or two, as a partition with a limit does; the next goes on where it was."""
    endless = (*LONG[:-2], "--seeds", "1", "--images", "100000000", "--timeout", "900", "--results", "there")
    driver = background(tmp_path, slurm, *endless, "--executor-option", "time=1")
    assert driver.stderr is not None
    assert any("continuing it" in line for line in driver.stderr)
    (progress,) = tmp_path.glob("there/*/*/*/progress.jsonl")
    ends = time.monotonic() + 600
    while '"attempt":2' not in progress.read_text().replace(" ", ""):
        assert driver.poll() is None and time.monotonic() < ends
        time.sleep(0.5)
    driver.send_signal(signal.SIGINT)
    said = driver.communicate(timeout=300)[1]
    assert driver.returncode == 130 and not list(tmp_path.glob("there/*/*/*/record.json")), said


@pytest.mark.slow
def test_a_limit_of_jobs_in_the_queue_is_lived_with(slurm, ganbench, tmp_path: Path) -> None:
    """A sbatch that takes no second job, as under a limit of jobs for each user, which SLURM has with accounting."""
    (tmp_path / "bin").mkdir()
    limited = tmp_path / "bin" / "sbatch"
    limited.write_text(LIMITED.format(sbatch=shutil.which("sbatch")))
    limited.chmod(0o755)
    assert ganbench(*SHORT, "--results", "here").returncode == 0
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    there = ganbench(*SHORT, "--results", "there", "--executor", "slurm", **{**slurm, "PATH": path})
    assert there.returncode == 0 and there.stderr.count("sbatch takes no more trials now") == 1, there.stderr
    assert "QOSMaxSubmitJobPerUserLimit" in there.stderr and "--jobs 1" in there.stderr
    same(tmp_path / "here", tmp_path / "there")


@pytest.mark.slow
def test_what_slurm_cannot_do_is_said_in_one_line(slurm, ganbench) -> None:
    for arguments, what in (
        (("--gpus-per-trial", "0.5"), "whole GPUs"),
        (("--executor-option", "partition=nowhere"), "partition"),
        (("--address", "auto"), "--address is not for SLURM"),
        (("--gpus-per-trial", "1"), "sbatch refuses a trial"),
        (("--executor-option", "job_name=mine"), "to follow its jobs"),
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
    found = loss("7", Submitted(Job({}), state=state))
    assert type(found).__name__ == kind and found.exit_code == exit_code and "SLURM job 7" in str(found)
    assert isinstance(found, OutOfMemory) == (kind == "OutOfMemory")


def test_what_a_job_said_last_is_part_of_why_it_was_lost(tmp_path: Path) -> None:
    (tmp_path / "err").write_text("srun: starting\n/bin/bash: /opt/python: No such file or directory\n\n")
    job = SimpleNamespace(paths=SimpleNamespace(stderr=tmp_path / "err"))
    found = str(loss("7", Submitted(Job({}), job, state="FAILED")))
    assert found == "SLURM job 7 ended without a result (failed: bash: python: No such file or directory)"


def test_jobs_that_cannot_be_seen_to_end_keep_their_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm_commands, "GONE_SECONDS", 0.1)
    with slurm_commands.exchange(tmp_path / "root") as folder:
        pass
    assert folder.is_dir() and f"scancel --name={folder.name}" in capsys.readouterr().err
    monkeypatch.setattr(slurm_commands, "states", lambda name: {})
    root = tmp_path / "root"
    with slurm_commands.exchange(root) as other, slurm_commands.exchange(root):  # one that lives is left alone
        assert not folder.exists() and other.is_dir()
    assert folder.name in capsys.readouterr().err and not list((tmp_path / "root").iterdir())


def test_a_silent_controller_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm_commands.states("ganbench-x") is None and slurm_commands.why_no_accounting() == "sacct does not answer"
