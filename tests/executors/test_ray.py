"""Sweeps on a real Ray cluster of two nodes on this machine. The tests that take minutes:

pytest -m slow tests/executors/test_ray.py
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ganbench[ray]'")

SHORT = ("run", "-d", "ring8", "--images", "1280", "--evaluations", "2", "--samples", "100", "--metrics", "coverage")
LONG = ("run", "-p", "vanilla", "-d", "ring8", "--images", "64000", "--evaluations", "5", "--metrics", "coverage")
TABLES = ("leaderboard.csv", "leaderboard.md", "trials.csv")

FRAGILE = """
import os, time
import numpy
from ganbench.plugin import GAN, hookimpl
from ganbench.toolkit import multilayer_perceptron
from torch import nn

class Fragile(GAN):
    name = "fragile"
    def __init__(self, shape, way: str = "", **hyperparameters):
        super().__init__(shape, way=way, **hyperparameters)
    def build_generator(self):
        return multilayer_perceptron(self.latent_dim, [8], 2)
    def build_discriminator(self):
        return nn.Sequential(multilayer_perceptron(2, [8], 1), nn.Flatten(0))
    def train_step(self, batch, clock):
        if self.way == "raise":
            raise ValueError("a fault of its own")
        if self.way == "exit":
            os._exit(3)
        if self.way.startswith("hoard") and not os.path.exists(self.way[5:]):
            if self.way[5:]:
                open(self.way[5:], "w").close()  # only once
            hoard = [numpy.ones(10**9, numpy.uint8) for _ in range(7)]
            time.sleep(600)
        return super().train_step(batch, clock)

@hookimpl
def ganbench_variants():
    return [Fragile]
"""


class Cluster:
    """Two nodes, each with a core and declared GPUs; processes see the variables that were set when it began."""

    def __init__(self, gpus: int = 1, head_cpus: int = 1) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from ray import cluster_utils

            self.node = {"num_cpus": 1, "num_gpus": gpus, "object_store_memory": 80 * 2**20}
            self.ray = cluster_utils.Cluster(
                initialize_head=True,
                head_node_args={**self.node, "num_cpus": head_cpus, "include_dashboard": False},
            )
            self.second = self.ray.add_node(**self.node)

    @property
    def options(self) -> tuple[str, ...]:
        return ("--executor", "ray", "--address", self.ray.address)

    def lose(self) -> None:
        """The second node dies at once."""
        self.ray.remove_node(self.second, allow_graceful=False)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cluster]]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # on a busy machine
    started: list[Cluster] = []

    def start(**nodes: int) -> Cluster:
        started.append(Cluster(**nodes))
        return started[-1]

    yield start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in started:
            one.ray.shutdown()


@pytest.fixture
def ganbench(ganbench: Callable[..., Any]) -> Callable[..., Any]:
    """The command line, with time for a busy machine: each trial of a cluster starts a Python of its own with torch."""
    return partial(ganbench, timeout=1800)


def same(one: Path, other: Path) -> None:
    """Every record and table has the same bytes."""
    records = sorted(path.relative_to(one) for path in one.glob("*/*/*/record.json"))
    assert records and records == sorted(path.relative_to(other) for path in other.glob("*/*/*/record.json"))
    for name in (*map(Path, TABLES), *records):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def background(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ganbench", *arguments]
    environment = {**os.environ, "GANBENCH_CHECKPOINT_SECONDS": "0.2"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE, start_new_session=True
    )


def until(what: Callable[[], Any], driver: subprocess.Popen[str] | None = None, seconds: float = 600) -> None:
    """Wait for something; fails where the driver ends before."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it did not happen in time"
        assert driver is None or driver.poll() is None, driver.communicate()[1]
        time.sleep(0.02)


def children_seconds() -> float:
    """CPU seconds of the processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def started(results: Path, trials: int = 1) -> bool:
    return len(list(results.glob("*/*/*/checkpoint.safetensors"))) >= trials


def hosts() -> list[int]:
    """Below this process, where the cluster's nodes run too: the processes beside Ray's own."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    parents = {int(pid): int(parent) for pid, parent, *_ in rows}

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and ours(parents[pid]))

    return [int(pid) for pid, _, *args in rows if "-m ganbench.executors.host" in " ".join(args) and ours(int(pid))]


def workers() -> list[str]:
    """The processes of ganbench on this machine's nodes: what runs trials, and what they run in."""
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if "ganbench.executors.host" in line and sys.executable in line]


def test_a_sweep_on_two_nodes_has_the_bytes_of_a_local_one(cluster, ganbench, tmp_path: Path) -> None:
    assert ganbench(*SHORT, "-p", "vanilla,noise", "--seeds", "2", "--results", "here").returncode == 0
    there = ganbench(
        *(*SHORT, "-p", "vanilla,noise", "--seeds", "2", "--results", "there", *cluster().options),
        *("--gpus-per-trial", "0.5", "--cpus-per-trial", "0.5", "--storage", "shared"),
    )
    assert there.returncode == 0, there.stderr
    same(tmp_path / "here", tmp_path / "there")
    files = sorted(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").glob("*/*/*/*"))
    assert files == sorted(path.relative_to(tmp_path / "there") for path in (tmp_path / "there").glob("*/*/*/*"))
    assert not [path for path in (tmp_path / "shared").rglob("*") if path.is_file() and path.name != ".lock"]


def test_no_cluster_is_said_in_one_line(ganbench) -> None:
    result = ganbench(*SHORT, "-p", "noise", "--executor", "ray", "--address", "127.0.0.1:1")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "127.0.0.1:1" in result.stderr.splitlines()[-1] and "ray start --head" in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_no_trial(cluster, ganbench, tmp_path: Path) -> None:
    assert ganbench(*LONG, "--seeds", "6", "--results", "here").returncode == 0
    nodes = cluster()
    driver = background(tmp_path, *LONG, "--seeds", "6", "--results", "there", *nodes.options)
    until(lambda: started(tmp_path / "there", 2), driver)
    nodes.lose()
    said = driver.communicate(timeout=900)[1]
    assert driver.returncode == 0 and "continuing it (attempt 2 of 3)" in said, said
    same(tmp_path / "here", tmp_path / "there")
    attempts = [json.loads(path.read_text())["attempts"] for path in tmp_path.glob("there/*/*/*/cost.json")]
    assert max(attempts) == 2  # it went on from the checkpoint that the lost node had left


@pytest.mark.slow
def test_a_sweep_whose_last_node_is_lost_waits_for_another(cluster, ganbench, tmp_path: Path) -> None:
    assert ganbench(*LONG, "--seeds", "2", "--results", "here").returncode == 0
    nodes = cluster(head_cpus=0)
    driver = background(tmp_path, *LONG, "--seeds", "2", "--results", "there", *nodes.options)
    until(lambda: started(tmp_path / "there"), driver)
    nodes.lose()
    said: list[str] = []
    reader = Thread(target=lambda: said.extend(driver.stderr or ()), daemon=True)
    reader.start()
    until(lambda: any("no node of the Ray cluster has" in line for line in said))
    (line,) = [line for line in said if "no node of the Ray cluster has" in line]
    assert "1 CPUs and 0 GPUs for one trial" in line and line.endswith("Ctrl-C ends the sweep\n")
    nodes.ray.add_node(**nodes.node)
    driver.wait(timeout=900)
    reader.join(timeout=60)
    assert driver.stderr is not None
    driver.stderr.close()
    assert driver.returncode == 0 and not any("Traceback" in line for line in said), said
    same(tmp_path / "here", tmp_path / "there")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_cancelled_driver_leaves_no_process_and_can_be_continued(
    cluster, ganbench, tmp_path: Path, number: int
) -> None:
    assert ganbench(*LONG, "--seeds", "6", "--results", "here").returncode == 0
    nodes = cluster()
    driver = background(tmp_path, *LONG, "--seeds", "6", "--results", "there", *nodes.options)
    until(lambda: started(tmp_path / "there", 2), driver)
    driver.send_signal(number)
    said = driver.communicate(timeout=600)[1]
    assert driver.returncode == (130 if number == signal.SIGINT else -number), said
    assert "did not stop in time" not in said
    until(lambda: not workers(), seconds=60)
    assert started(tmp_path / "there", 2)
    again = ganbench(*LONG, "--seeds", "6", "--results", "there", *nodes.options)
    assert again.returncode == 0, again.stderr
    same(tmp_path / "here", tmp_path / "there")


@pytest.mark.slow
def test_a_killed_worker_is_tried_again_and_a_plugin_s_own_fault_is_not(
    cluster, ganbench, install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install("ganbench-fragile", {"fragile.py": FRAGILE}, {"fragile": "fragile"})
    monkeypatch.setenv("PYTHONPATH", str(site))
    assert ganbench(*LONG, "--seeds", "6", "--results", "here").returncode == 0
    nodes = cluster()
    driver = background(tmp_path, *LONG, "--seeds", "6", "--results", "there", *nodes.options)
    until(lambda: started(tmp_path / "there", 2), driver)
    os.kill(min(hosts()), signal.SIGKILL)
    said = driver.communicate(timeout=900)[1]
    assert driver.returncode == 0 and said.count("continuing it (attempt 2 of 3)") == 1, said
    same(tmp_path / "here", tmp_path / "there")
    for way, status, reason in (
        ("raise", "error", "ValueError: a fault of its own (fragile.py, line 18)"),
        ("exit", "crashed", "its process ended by itself with exit code 3"),
    ):
        setting = ("--set", f"fragile.way={way}", "--results", way)
        result = ganbench(*SHORT, "-p", "fragile", "--seeds", "1", *setting, *nodes.options)
        assert result.returncode == 1 and "attempt" not in result.stderr, result.stderr
        (record,) = (json.loads(path.read_text()) for path in (tmp_path / way).glob("*/*/*/record.json"))
        assert (record["status"], record["reason"]) == (status, reason)


@pytest.mark.slow
def test_another_version_of_a_plugin_stops_the_sweep(
    cluster, ganbench, install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install("ganbench-fragile", {"fragile.py": FRAGILE}, {"fragile": "fragile"})
    monkeypatch.setenv("PYTHONPATH", str(site))
    nodes = cluster()
    older = tmp_path / "older"
    subprocess.run(["cp", "-r", str(site), str(older)], check=True)
    (info,) = older.glob("*.dist-info")
    (info / "METADATA").write_text((info / "METADATA").read_text().replace("Version: 1.0", "Version: 0.9"))
    result = ganbench(*SHORT, "-p", "fragile", "--seeds", "1", *nodes.options, site=older)
    assert result.returncode == 2 and not list(tmp_path.glob("ganbench-results/*/*/*/record.json"))
    assert "ganbench-fragile is 0.9" in result.stderr and "1.0 on the worker" in result.stderr


@pytest.mark.slow
def test_more_than_a_node_has_is_refused(cluster, ganbench) -> None:
    address = cluster(gpus=0).options
    for option, number, what in (
        ("--cpus-per-trial", "64", "64 CPUs and 0 GPUs"),
        ("--gpus-per-trial", "0.25", "1 CPUs and 0.25 GPUs"),
        ("--memory", "4000", "0 GPUs and 4000.0 GB"),
    ):
        result = ganbench(*SHORT, "-p", "noise", option, number, *address)
        assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
        (said,) = [line for line in result.stderr.splitlines() if "no node of the Ray cluster has" in line]
        assert what in said and option in said and "its nodes have 1 CPUs, 0 GPUs and" in said


@pytest.mark.slow
def test_a_cluster_without_a_sound_ganbench_says_so(
    cluster, ganbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken" / "ganbench").mkdir(parents=True)
    (tmp_path / "broken" / "ganbench" / "__init__.py").write_text("raise ImportError('it was installed by halves')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    nodes = cluster()
    monkeypatch.delenv("PYTHONPATH")
    result = ganbench(*SHORT, "-p", "noise", *nodes.options)
    assert result.returncode == 130 and "Traceback" not in result.stderr
    assert "a worker could not begin: ImportError: it was installed by halves" in result.stderr


@pytest.mark.slow
def test_a_head_that_is_lost_ends_the_sweep_in_words(cluster, tmp_path: Path) -> None:
    nodes = cluster()
    driver = background(tmp_path, *LONG, "--images", "100000000", "--seeds", "20", "--results", "there", *nodes.options)
    until(lambda: started(tmp_path / "there"), driver)
    nodes.ray.head_node.kill_gcs_server()
    said = driver.communicate(timeout=600)[1]
    assert driver.returncode == 130 and "Traceback" not in said, said
    assert "does not answer any more: nothing finished was lost" in said


@pytest.mark.slow
def test_what_answers_and_is_no_ray_is_given_up(ganbench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        result = ganbench(*SHORT, "-p", "noise", "--executor", "ray", "--address", address)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert f"--address {address}: no Ray cluster can be joined there" in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_trial_that_ray_ends_for_want_of_memory_is_tried_again(
    cluster, ganbench, install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own memory monitor, with a limit that a plugin of 7 GB passes: once, then every time."""
    site = install("ganbench-fragile", {"fragile.py": FRAGILE}, {"fragile": "fragile"})
    monkeypatch.setenv("PYTHONPATH", str(site))
    memory = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    if memory["MemAvailable"] < 9 * 10**6:
        pytest.skip("it needs 9 GB of memory")
    limit = 1 - (memory["MemAvailable"] - 5 * 10**6) / memory["MemTotal"]  # the cluster and its hosts hold 3 GB
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{limit:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "200")
    nodes = cluster()
    for way, status, attempts, reason in (
        (f"hoard{tmp_path / 'once'}", "completed", 2, None),
        ("hoard", "oom", 3, "Ray killed its worker because the node had no memory left, 3 times"),
    ):
        results = tmp_path / status
        setting = ("--set", f"fragile.way={way}", "--results", str(results))
        result = ganbench(*SHORT, "-p", "fragile", "--seeds", "1", *setting, *nodes.options)
        assert result.stderr.count("because the node had no memory left; continuing it") == attempts - 1, result.stderr
        (record,) = (json.loads(path.read_text()) for path in results.glob("*/*/*/record.json"))
        assert (record["status"], record["reason"]) == (status, reason)


@pytest.mark.slow
def test_a_thousand_short_trials(cluster, ganbench, tmp_path: Path) -> None:
    tiny = ("run", "-p", "noise", "-d", "ring8", "--images", "64", "--evaluations", "1", "--samples", "100")
    tiny = (*tiny, "--metrics", "coverage", "--seeds", "1000")
    assert ganbench(*tiny, "--results", "here", timeout=3000).returncode == 0
    address = cluster().options
    start, cpu = time.monotonic(), children_seconds()
    result = ganbench(*tiny, "--results", "there", *address, timeout=3000)
    seconds = f"{time.monotonic() - start:.0f} s, {children_seconds() - cpu:.0f} CPU seconds of the driver"
    print(f"1,000 trials in {seconds}")
    assert result.returncode == 0, result.stderr
    same(tmp_path / "here", tmp_path / "there")
