"""Who holds how much memory, who is stopped for it, and who was killed for want of it."""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganbench.conformance.pretended_device import pretended
from ganbench.executors import DeadlineExceeded, Job, MemoryExceeded, jobs, local
from ganbench.executors.local import _await
from ganbench.executors.running import End, run_one_job
from ganbench.utils import memory
from ganbench.utils.seeding import Settings

pytestmark = pytest.mark.skipif(not memory.measurable(), reason="needs /proc")

HOLD = "held = bytearray(b'x') * {size}; import time; time.sleep(60)"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
MEGABYTE = 10**6


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Two processes of one session, as a plugin that starts one: the child holds 200 MB, the leader little."""
    hold = HOLD.format(size=200 * MEGABYTE)
    with subprocess.Popen([sys.executable, "-c", PARENT, hold], start_new_session=True) as started:
        yield started
        subprocess.run(["kill", "-9", "--", f"-{started.pid}"], check=True)


def _supervise(pid: int, job: Job) -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    never, end = os.pipe()
    try:
        _await(receiver, never, pid, job)
    finally:
        receiver.close()
        sender.close()
        os.close(never)
        os.close(end)


def test_a_job_is_stopped_for_what_its_children_hold(process: subprocess.Popen[bytes]) -> None:
    with pytest.raises(MemoryExceeded, match=r"it held more than 0\.15 GB of memory \(--memory\)"):
        _supervise(process.pid, Job({}, deadline=60, memory=150 * MEGABYTE))
    assert memory.resident(process.pid) < 100 * MEGABYTE


def test_a_job_below_its_limit_goes_on_to_its_deadline(process: subprocess.Popen[bytes]) -> None:
    with pytest.raises(DeadlineExceeded, match=r"it ran longer than 1\.5 s"):
        _supervise(process.pid, Job({}, deadline=1.5, memory=1000 * MEGABYTE))


def test_a_large_request_fails_at_once_where_it_is_made() -> None:
    code = """
from ganbench.utils.memory import limit_allocations
limit_allocations(100e6)
small = bytearray(50_000_000)
try:
    bytearray(20_000_000_000)
except MemoryError:
    print("refused")
"""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "refused\n", done.stderr
    assert time.monotonic() - start < 30


def test_a_process_that_has_ended_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as done:
        done.wait()
    assert memory.resident(done.pid) == 0


def test_kills_for_want_of_memory_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.system_kills() >= 0
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    assert memory.system_kills() == 0
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 7\noom_kill_other 9\n")
    assert memory.system_kills() == 7


@pytest.fixture
def share() -> Iterator[Path]:
    """A control group of our own whose memory the system limits to 3 GB, as a container's."""
    folder = next((found for parent in groups() if (found := made(parent)) is not None), None)
    if folder is None:
        pytest.skip("no control group with a limit on memory can be made here")
    try:
        yield folder
    finally:
        for _ in range(100):  # it can go when its last process has ended
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


def groups() -> Iterator[Path]:
    """Where such a group may be made: below our own of version 1, or at the top of version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield Path("/sys/fs/cgroup/memory") / place.lstrip("/")
    yield Path("/sys/fs/cgroup")


def made(parent: Path) -> Path | None:
    folder = parent / f"ganbench-test-{os.getpid()}"
    with contextlib.suppress(OSError):
        folder.mkdir()
        for limit in ("memory.limit_in_bytes", "memory.max"):
            if (folder / limit).exists():
                (folder / limit).write_text(str(3 * 10**9))
                return folder
        folder.rmdir()
    return None


LEAK = """
import torch
from ganbench.plugin import Variant, hookimpl

class Leak(Variant):
    name = "leak"

    def train_step(self, batch, clock):
        kept = []
        while True:
            kept.append(torch.ones(25_000_000))

    def sample(self, n, rng=None):
        return torch.randn(n, *self.shape, generator=rng)

@hookimpl
def ganbench_variants():
    return [Leak]
"""


@pytest.mark.slow  # pytest -m slow tests/executors/test_memory.py
def test_the_system_kills_a_trial_for_memory_and_nothing_else_is_lost(
    share: Path, install: Callable[..., Path], ganbench: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A real kill by the kernel: the sweep is in a group that may hold 3 GB, and has no --memory of its own."""
    site = install("leak", {"leak.py": LEAK}, {"leak": "leak"})
    sweep = ("run", "-d", "ring8", "--seeds", "1", "--images", "6400", "--evaluations", "2", "--samples", "200")
    alone = ganbench(*sweep, "-p", "vanilla", "--results", "alone")
    assert alone.returncode == 0, alone.stderr
    kills = memory.system_kills()
    entering = f"import os; open({str(share / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); import sys; "
    entering += "from ganbench.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", entering, *sweep, "-p", "leak,vanilla", "--jobs", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert memory.system_kills() >= kills + 3, done.stderr
    assert done.returncode == 1, done.stderr
    record = json.loads(next(tmp_path.glob("ganbench-results/ring8/leak/*/record.json")).read_text())
    assert record["status"] == "oom"
    assert record["reason"] == "the system killed its process for want of memory, 3 times"
    found = [next(tmp_path.glob(f"{folder}/ring8/vanilla/*/record.json")) for folder in ("alone", "ganbench-results")]
    assert found[0].read_bytes() == found[1].read_bytes()


FILL = "held = bytearray(b'x') * 400_000_000; time.sleep({seconds})"


@pytest.mark.parametrize(
    ("device", "context", "how", "said"),
    [
        ("cpu", 10**9, End.MEMORY, "it held more than 0.6 GB of memory (--memory)"),  # a CPU has no context
        ("cuda:0", 0, End.MEMORY, "it held more than 0.6 GB of memory (--memory)"),
        ("cuda:0", 10**9, End.RETURNED, ""),
        ("cuda:0", 10**8, End.MEMORY, "(--memory), beside 0.1 GB of its CUDA context"),
    ],
)
def test_what_cuda_holds_beside_a_trial_does_not_count(
    device: str, context: int, how: End, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setattr(local, "_serve", importlib.import_module("scripted_job").serve)
    engine = local.LocalExecutor(jobs=1, threads=1, options={})
    code = FILL.format(seconds=20 if how is End.MEMORY else 2)
    payload = {"code": code, "mark": str(tmp_path / "pids"), "device": device, "context": context}
    try:
        ended = run_one_job(engine, Job(payload, deadline=60, memory=600 * MEGABYTE))
    finally:
        engine.close(cancel=True)
    assert ended.how is how and said in ended.reason, ended


def test_a_context_is_made_with_what_trials_use_and_only_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter(range(0, 10**9, 10**8))
    monkeypatch.setattr(memory, "resident", lambda pid: next(held))
    trial = {"kind": "trial", "device": "cuda:1", "threads": 1}
    assert jobs.context_bytes({**trial, "device": "cpu"}) == 0
    assert jobs.context_bytes(trial) == 0  # there is none: the trial itself will say so
    before = Settings.now()
    try:
        with pretended("cuda") as seen:
            assert jobs.context_bytes(trial) == 10**8
            assert {"convolution", "bmm"} <= set(seen.kernels)
            seen.clear()
            assert jobs.context_bytes({**trial, "kind": "variant"}) == 10**8
            assert not seen.kernels
    finally:
        before.set()
