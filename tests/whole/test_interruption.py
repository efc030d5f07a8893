"""Ctrl-C and SIGTERM: the first waits for checkpoints, the second does not; nobody outlives the driver."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ganbench.cli.selftest import contents, workers
from ganbench.results.store import read_records

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and process groups are POSIX")

SLOW = pytest.mark.slow  # pytest -m slow tests/whole/test_interruption.py
TINY = ("-d", "ring8", "--evaluations", "2", "--samples", "64", "--metrics", "coverage")
LONG = ("run", "-p", "vanilla", *TINY, "--seeds", "2", "--jobs", "2", "--images", "32000", "--set", "vanilla.width=16")
# Two that never come back from a step, the second of them not even to Python.
HANGING = """
import ctypes, time
import torch
from ganbench.plugin import Variant, hookimpl

class Sleeper(Variant):
    name = "sleeper"

    def train_step(self, batch, clock):
        time.sleep(3600)

    def sample(self, n, rng=None):
        return torch.randn(n, *self.shape, generator=rng)

class Stone(Sleeper):
    name = "stone"

    def train_step(self, batch, clock):
        while True:  # a signal ends one sleep
            ctypes.PyDLL(None).sleep(3600)

@hookimpl
def ganbench_variants():
    return [Sleeper, Stone]
"""


@pytest.fixture
def site(install: Callable[..., Path]) -> Path:
    return install("hanging", {"hanging.py": HANGING}, {"sleeper": "hanging", "stone": "hanging"})


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Begin a sweep in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ganbench", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    assert condition()


def wait_for_line(process: subprocess.Popen[str], text: str, seconds: float = 600) -> None:
    """Read standard error up to a line with that text; one that ends without it, or goes on without it, has failed."""
    late = threading.Timer(seconds, process.kill)
    late.start()
    found = any(text in line for line in iter(process.stderr.readline, ""))
    late.cancel()
    assert found, f"it did not say {text}"


def evaluated(folder: Path, trials: int) -> Callable[[], bool]:
    """Whether so many trials have begun to train."""
    logs = "ganbench-results/*/*/*/progress.jsonl"
    return lambda: sum('"evaluation"' in path.read_text() for path in folder.glob(logs)) >= trials


def gone(process: subprocess.Popen[str], left: list[int], seconds: float = 60) -> bool:
    """Whether neither the driver's group nor one of its workers is left."""

    def alive(number: int, ask: Callable[[int, int], None]) -> bool:
        try:
            ask(number, 0)
        except ProcessLookupError:
            return False
        return True

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive(process.pid, os.killpg) and not any(alive(worker, os.kill) for worker in left):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("number", "to_all"),
    [
        pytest.param(signal.SIGINT, False, marks=SLOW),
        pytest.param(signal.SIGTERM, False, marks=SLOW),
        (signal.SIGTERM, True),
    ],
)
def test_the_first_signal_waits_for_a_checkpoint(number: signal.Signals, to_all: bool, tmp_path: Path) -> None:
    # A checkpoint only where one is asked for: an hour is longer than the trial.
    process = start(tmp_path, *LONG, GANBENCH_CHECKPOINT_SECONDS="3600")
    wait_for(process, evaluated(tmp_path, 2))
    left = workers(process.pid)
    if to_all:  # as a batch system does
        os.killpg(process.pid, number)
        for worker in left:
            os.kill(worker, number)
    else:
        os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert "same command again" in stderr, stderr
    # Workers that were told by themselves may have ended before the driver looks.
    assert to_all or "stopping: what runs writes a checkpoint" in stderr, stderr
    assert "did not stop in time" not in stderr and "Traceback" not in stderr
    assert gone(process, left) and not list(tmp_path.rglob("record.json"))
    assert len(list(tmp_path.rglob("checkpoint.safetensors"))) == 2
    if number == signal.SIGINT:
        for folder in ("ganbench-results", "whole"):
            done = start(tmp_path, *LONG, "--results", folder)
            _, stderr = done.communicate(timeout=600)
            assert done.returncode == 0, stderr
        assert contents(tmp_path / "ganbench-results") == contents(tmp_path / "whole")
        attempts = [p.read_text() for p in tmp_path.glob("ganbench-results/*/*/*/cost.json")]
        assert all('"attempts": 2' in text for text in attempts)


@SLOW
@pytest.mark.parametrize("variant", ["sleeper", "stone"])
def test_a_hanging_trial_holds_the_first_ctrl_c_up_only_so_long(variant: str, site: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "run", "-p", variant, *TINY, "--seeds", "1", PYTHONPATH=str(site))
    wait_for(process, evaluated(tmp_path, 1))
    left = workers(process.pid)
    begun = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert time.monotonic() - begun > 9
    assert process.returncode == 130 and "it did not stop in time" in stderr, stderr
    assert len(left) == 1 and gone(process, left)


def test_the_second_ctrl_c_ends_at_once(site: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "run", "-p", "sleeper", *TINY, "--seeds", "1", PYTHONPATH=str(site))
    wait_for(process, evaluated(tmp_path, 1))
    left = workers(process.pid)
    os.kill(process.pid, signal.SIGINT)
    wait_for_line(process, "asking")
    wait_for_line(process, "stopping")
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    # It did not wait for the trial, which would be told.
    assert process.returncode == 130 and "same command again" in stderr and "in time" not in stderr, stderr
    assert gone(process, left)


def commands_in(stderr: str) -> list[list[str]]:
    """The commands that the last words of a sweep name, without ``ganbench``."""
    return [words[1:] for line in stderr.splitlines() if line.startswith("  ") and (words := shlex.split(line))]


@pytest.mark.parametrize("folder", ["ganbench-results", pytest.param("my results", marks=SLOW)])
def test_an_interrupted_sweep_leaves_the_tables_of_what_is_finished(folder: str, tmp_path: Path) -> None:
    sweep = ("run", "-p", "noise,vanilla", *TINY, "--seeds", "1", "--images", "64000", "--jobs", "1")
    named = () if folder == "ganbench-results" else ("--results", folder)
    process = start(tmp_path, *sweep, *named, GANBENCH_CHECKPOINT_SECONDS="0.2")
    noise, vanilla = (f"{folder}/ring8/{name}/*/" for name in ("noise", "vanilla"))
    wait_for(process, lambda: bool(list(tmp_path.glob(f"{noise}record.json"))))
    wait_for(process, lambda: bool(list(tmp_path.glob(f"{vanilla}checkpoint.safetensors"))))
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in stderr, stderr
    assert f"tables of the finished trials (1) are in {folder}" in stderr, stderr
    assert list(pd.read_csv(tmp_path / folder / "trials.csv").variant) == ["noise"]
    assert list(pd.read_csv(tmp_path / folder / "leaderboard.csv").variant) == ["noise"]
    assert (tmp_path / folder / "leaderboard.html").is_file()
    again, report = commands_in(stderr)
    assert again == [*sweep, *named] and report == ["report", "--results", folder]
    told = subprocess.run(
        [sys.executable, "-m", "ganbench", *report], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "noise" in told.stdout and "1 interrupted" in told.stderr
    done = start(tmp_path, *again)
    _, stderr = done.communicate(timeout=600)
    assert done.returncode == 0, stderr
    assert set(pd.read_csv(tmp_path / folder / "leaderboard.csv").variant) == {"noise", "vanilla"}


def test_a_second_ctrl_c_leaves_the_tables_to_report(site: Path, tmp_path: Path) -> None:
    sweep = ("run", "-p", "noise,sleeper", *TINY, "--seeds", "1", "--images", "640", "--jobs", "2")
    process = start(tmp_path, *sweep, PYTHONPATH=str(site))
    wait_for(process, lambda: bool(list(tmp_path.glob("ganbench-results/ring8/noise/*/record.json"))))
    wait_for(process, lambda: bool(list(tmp_path.glob("ganbench-results/ring8/sleeper/*/progress.jsonl"))))
    left = workers(process.pid)
    os.kill(process.pid, signal.SIGINT)
    wait_for_line(process, "stopping")
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    begun = time.monotonic()
    _, stderr = process.communicate(timeout=300)
    assert time.monotonic() - begun < 5 and process.returncode == 130 and "Traceback" not in stderr, stderr
    assert commands_in(stderr) == [[*sweep], ["report", "--results", "ganbench-results"]]
    assert not list(tmp_path.glob("ganbench-results/*.csv")) and gone(process, left)


def test_a_sweep_that_is_interrupted_before_a_trial_is_finished_names_no_tables(site: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "run", "-p", "sleeper", *TINY, "--seeds", "1", PYTHONPATH=str(site))
    wait_for_line(process, "asking")
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and len(commands_in(stderr)) == 1 and "tables" not in stderr, stderr


@SLOW
@pytest.mark.skipif(sys.platform != "linux", reason="the system ends it: PR_SET_PDEATHSIG")
def test_a_trial_that_holds_the_interpreter_ends_with_its_driver(site: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "run", "-p", "stone", *TINY, "--seeds", "1", PYTHONPATH=str(site))
    wait_for(process, evaluated(tmp_path, 1))
    left = workers(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(left) == 1 and gone(process, left)


@SLOW
def test_a_worker_that_is_sent_sigterm_is_continued(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, GANBENCH_CHECKPOINT_SECONDS="3600")
    wait_for(process, evaluated(tmp_path, 2))
    for worker in workers(process.pid):
        os.kill(worker, signal.SIGTERM)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0 and stderr.count("stopped it with SIGTERM; continuing it") == 2, stderr


SLOW_METRIC = """
import time
from ganbench.plugin import Metric, hookimpl

class Slow(Metric):
    def __call__(self, evidence):
        time.sleep(2)
        return 1.0

@hookimpl
def ganbench_metrics():
    return [Slow("slow", "Slow", "min", cost="end")]
"""


@SLOW
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_rescoring_finishes_what_runs_when_it_is_stopped(
    number: signal.Signals, install: Callable[..., Path], tmp_path: Path
) -> None:
    site = str(install("slow-metric", {"slow_metric.py": SLOW_METRIC}, {"slow": "slow_metric"}))
    done = start(tmp_path, "run", "-p", "noise", *TINY, "--seeds", "4", "--images", "640")
    _, stderr = done.communicate(timeout=600)
    assert done.returncode == 0, stderr
    command = ("rescore", "ganbench-results", "-m", "slow", "--jobs", "1")
    process = start(tmp_path, *command, PYTHONPATH=site)
    wait_for(process, lambda: bool(list(tmp_path.rglob("rescored.json"))))
    time.sleep(1)  # the next one has begun
    left = workers(process.pid)
    os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and "same command again" in stderr, stderr
    assert "stopping: what runs is finished" in stderr and "Traceback" not in stderr, stderr
    assert gone(process, left)
    found = len(list(tmp_path.rglob("rescored.json")))
    assert found == 2 and not list(tmp_path.rglob("*.tmp")) and not read_records(tmp_path / "ganbench-results").problems
    again = start(tmp_path, *command, PYTHONPATH=site)
    _, stderr = again.communicate(timeout=600)
    assert again.returncode == 0 and "2 trials to rescore, 2 rescored earlier" in stderr, stderr


@SLOW
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_selftest_that_is_stopped_leaves_no_sweep_behind(number: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path, "selftest", "--results", "here")
    begun = "here/ganbench-selftest-*/whole/*/*/*/progress.jsonl"
    wait_for(process, lambda: bool(list(tmp_path.glob(begun))))
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    (driver,) = [int(pid) for pid, parent in map(str.split, listed.splitlines()) if int(parent) == process.pid]
    left = [driver, *workers(driver)]
    os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in stderr, stderr
    assert gone(process, left) and not list((tmp_path / "here").iterdir())


@SLOW
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_is_stopped_leaves_nobody_behind(number: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path, "check", "vanilla", "--jobs", "2")
    wait_for(process, lambda: len(workers(process.pid)) == 2)
    left = workers(process.pid)
    os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in stderr, stderr
    assert gone(process, left)


@pytest.fixture(scope="module")
def long_trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a trial that takes a while to train again."""
    folder = tmp_path_factory.mktemp("long")
    done = start(folder, "run", "-p", "vanilla", *TINY, "--seeds", "1", "--images", "200000")
    _, stderr = done.communicate(timeout=900)
    assert done.returncode == 0, stderr
    return folder


def begin_rerun(folder: Path, scratch: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Begin to verify, and wait until the trial trains again; its worker too."""
    process = start(folder, "verify", "ganbench-results", "--rerun", "1", "--jobs", "1", TMPDIR=str(scratch))
    wait_for(process, lambda: bool(list(scratch.glob("ganbench-verify-*/0/progress.jsonl"))))
    return process, workers(process.pid)


@SLOW
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2])
def test_a_verification_that_is_stopped_while_it_trains_agrees_with_nothing(
    number: signal.Signals, times: int, long_trial: Path, tmp_path: Path
) -> None:
    process, left = begin_rerun(long_trial, tmp_path)
    for _ in range(times):
        os.kill(process.pid, number)
        time.sleep(0.5)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and "nothing was changed" in stderr and "Traceback" not in stderr, stderr
    assert "bit-identical" not in stderr and gone(process, left)


@SLOW
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_verification_whose_training_is_ended_each_time_agrees_with_nothing(
    number: signal.Signals, long_trial: Path, tmp_path: Path
) -> None:
    process, left = begin_rerun(long_trial, tmp_path)
    for attempt in range(3):
        for worker in left:
            os.kill(worker, number)
        if attempt < 2:
            wait_for(process, lambda: bool(set(workers(process.pid)) - set(left)))  # noqa: B023 - called at once
            time.sleep(3)  # SIGTERM asks a process that has begun to train
            left = workers(process.pid)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 1 and "it was not trained again" in stderr and "Traceback" not in stderr, stderr
