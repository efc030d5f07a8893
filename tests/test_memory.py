"""Who holds how much memory, who is stopped for it, and who was killed for want of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganbench import memory
from ganbench.executors import DeadlineExceeded, Job, MemoryExceeded
from ganbench.executors.local import _await

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


def test_a_job_is_stopped_for_what_its_children_hold(process: subprocess.Popen[bytes]) -> None:
    with pytest.raises(MemoryExceeded, match=r"it held more than 0\.15 GB of memory \(--memory\)"):
        _await([], process.pid, Job({}, deadline=60, memory=150 * MEGABYTE))
    assert memory.resident(process.pid) < 100 * MEGABYTE


def test_a_job_below_its_limit_goes_on_to_its_deadline(process: subprocess.Popen[bytes]) -> None:
    with pytest.raises(DeadlineExceeded, match=r"it ran longer than 1\.5 s"):
        _await([], process.pid, Job({}, deadline=1.5, memory=1000 * MEGABYTE))


def test_a_large_request_fails_at_once_where_it_is_made() -> None:
    code = """
from ganbench.memory import limit_allocations
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
