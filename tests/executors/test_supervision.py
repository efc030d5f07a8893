"""No state of a job's process ends its supervision: it ends in time, nothing of it survives, and the next job runs."""

from __future__ import annotations

import importlib
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganbench.executors import Job, local
from ganbench.executors.local import LocalExecutor
from ganbench.executors.running import End, run_one_job
from ganbench.utils import memory

pytestmark = pytest.mark.skipif(not memory.measurable(), reason="needs /proc")

DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(MARK, "a").write(f"{os.getpid()}\\n")
        held = bytearray(b"x") * HELD
        time.sleep(300)
    os._exit(0)
time.sleep(1)
"""
HANG = "time.sleep(300)"
CASES: dict[str, tuple[str, End, str]] = {
    "closes the pipe and hangs": (f"os.closerange(3, 256)\n{HANG}", End.DEADLINE, "longer than 3 s"),
    "closes everything and hangs": (f"os.closerange(0, 256)\n{HANG}", End.DEADLINE, "longer than 3 s"),
    "closes the pipe and computes": ("os.closerange(3, 256)\nwhile True: pass", End.DEADLINE, "longer than 3 s"),
    "closes the pipe and fills memory": (
        f"os.closerange(3, 256)\nheld = bytearray(b'x') * 16 * 10**8\n{HANG}",
        End.MEMORY,
        "1.6 GB",
    ),
    "closes the pipe and finishes": ("os.closerange(3, 256)", End.DIED, "closed the pipe"),
    "closes the pipe and exits with 0": ("os.closerange(3, 256)\nos._exit(0)", End.DIED, "exit code 0"),
    "opens another file in the place of the pipe": (
        "os.closerange(3, 256)\nfiles = [open(MARK + '.txt', 'w') for _ in range(50)]",
        End.DIED,
        "closed the pipe",
    ),
    "stops itself": ("os.kill(os.getpid(), signal.SIGSTOP)", End.DEADLINE, "longer than 3 s"),
    "ignores SIGTERM": (f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{HANG}", End.DEADLINE, "longer than 3 s"),
    "stops the forkserver": (f"os.kill(os.getppid(), signal.SIGSTOP)\n{HANG}", End.DEADLINE, "longer than 3 s"),
    "half a message": (f"[os.write(fd, b'{{\"a\": ') for fd in pipes()]\n{HANG}", End.DEADLINE, "longer than 3 s"),
    "a huge length": (f"[os.write(fd, b'\\x7f\\xff\\xff\\xff') for fd in pipes()]\n{HANG}", End.DEADLINE, "longer"),
    "garbage": ("[os.write(fd, b'\\0garbage') for fd in pipes()]\nos._exit(0)", End.DIED, "no result"),
    "a daemon that holds memory": (f"{DAEMON}\n{HANG}".replace("HELD", "10**9"), End.MEMORY, "1.6 GB"),
    "a daemon and hangs": (f"{DAEMON}\n{HANG}".replace("HELD", "10"), End.DEADLINE, "longer than 3 s"),
    "a daemon and exits": (f"{DAEMON}\nos._exit(3)".replace("HELD", "10"), End.DIED, "exit code 3"),
    "a daemon and finishes": (DAEMON.replace("HELD", "10"), End.RETURNED, ""),
    "forks, and both go on": ("os.fork()", End.RETURNED, ""),
    "forks, and the copy ends later": ("if os.fork() == 0: time.sleep(2)", End.RETURNED, ""),
    "forks, and the copy ends sooner": ("if os.fork(): time.sleep(2)", End.RETURNED, ""),
    "kills the forkserver": (f"os.kill(os.getppid(), 9)\n{HANG}", End.KILLED, "starts all jobs"),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalExecutor]:
    engine = LocalExecutor(jobs=1, threads=1, options={})
    run_one_job(engine, Job({"kind": "variant", "threads": 1}))  # the forkserver imports torch: of no job's seconds
    yield engine
    engine.close(cancel=True)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)  # where the job's process finds it too
    monkeypatch.setattr(local, "_serve", importlib.import_module("scripted_job").serve)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("case", CASES)
def test_a_job_ends_in_time_whatever_it_does(case: str, engine: LocalExecutor, tmp_path: Path) -> None:
    code, how, reason = CASES[case]
    mark = tmp_path / "pids"
    payload = {"code": textwrap.dedent(code), "mark": str(mark)}
    start = time.monotonic()
    ended = run_one_job(engine, Job(payload, deadline=3.0, memory=1.6e9))
    attempts = 3 if how is End.KILLED else 1
    assert time.monotonic() - start < (3 + 5) * attempts + (60 if how is End.KILLED else 0)
    assert ended.how is how and reason in ended.reason, ended
    time.sleep(0.2)
    assert not [pid for pid in map(int, mark.read_text().split()) if alive(pid)]
    following = run_one_job(engine, Job({"code": "", "mark": str(mark)}, deadline=60.0))
    assert following.result == {"done": True}
    if (written := tmp_path / "pids.txt").exists():
        assert written.read_bytes() == b""  # no result went into a file of the plugin's
