"""``ganbench selftest``: kill a real sweep again and again on the user's own file system, and compare bytes."""

from __future__ import annotations

import contextlib
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from ganbench.cli.options import Folder
from ganbench.utils import signals
from ganbench.utils.console import say
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_FAILED
from ganbench.utils.files import StoreError, make_folder, store_errors

# A small GAN on points and on images, scored at a few points.
COMMAND = shlex.split(
    "run --plugins vanilla --datasets ring8,digits --seeds 2 --jobs 2 --images 6400 --evaluations 4 --samples 200 "
    "--metrics coverage --set vanilla.width=16"
)
TRIALS = 4
CHECKPOINT_SECONDS = "0.2"
MOST_WORKERS = 2  # killed in one run: a trial that is killed again and again at one step counts as crashed
BUSY = 0.75  # share of the kills that fall where trials run
# What differs from run to run: times and what shows them, and what nothing reads.
UNLIKE = ("cost.json", "costs.csv", "log.txt", ".lock")
SHOWS_TIMES = ".html"
PATIENCE = 900.0


@click.command("selftest")
@click.option("--kills", type=click.IntRange(1), default=50, show_default=True, help="How often to kill.")
@click.option(
    "--results",
    type=Folder(),
    help="Folder to do it in.  [default: a temporary one]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the moments and targets.")
def command(kills: int, results: Path | None, seed: int) -> None:
    """Kill a small sweep again and again, and see that nothing is lost.

    A small GAN is trained on two datasets, and a worker, the driver or the whole process group is killed at random
    moments (kill -9). The same command continues it; in the end every record and table must have the bytes of a sweep
    that nobody killed. Name a folder with --results to test the file system that your results are on: the sweeps run
    in a new folder inside it, which is removed afterwards. Exit code 0 if all bytes are equal, 1 if not; then the
    folder is kept. A kill takes about 5 seconds.
    """
    sys.exit(selftest(kills, results, seed))


class Broken(Exception):
    """A sweep did not end as the uninterrupted one; the message says how."""


def selftest(kills: int, folder: Path | None, seed: int) -> int:
    """Kill sweeps that many times and continue them; return the exit code."""
    if folder is not None:
        make_folder(folder)
    with store_errors("create a folder in", folder or Path(tempfile.gettempdir())):
        place = Path(tempfile.mkdtemp(prefix="ganbench-selftest-", dir=folder))
    say(f"an uninterrupted sweep of {TRIALS} trials in {place} ...")
    signals.handle_in_driver()
    crashes = Crashes(place, random.Random(seed))
    try:
        crashes.measure()
        sweeps = 0
        while crashes.killed.total() < kills:
            sweeps += 1
            crashes.sweep(kills)
            say(f"sweep {sweeps}: every byte as without a kill")
    except (Broken, StoreError) as reason:
        say(f"FAILED: {reason}. Everything is left in {place}", sys.stderr)
        return EXIT_FAILED
    except BaseException:
        with signals.ignored():
            crashes.end()
            shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place)
    ways = ", ".join(f"{crashes.killed[way]} of {what}" for way, what in WAYS.items())
    say(f"passed: {kills} kills ({ways}) in {sweeps} sweeps; every record and table byte-identical")
    return EXIT_COMPLETED


WAYS = {"worker": "a worker", "driver": "the driver", "group": "the process group"}


class Crashes:
    """Sweeps in one folder, killed at random moments and continued."""

    def __init__(self, place: Path, rng: random.Random) -> None:
        self.place, self.rng = place, rng
        self.killed: Counter[str] = Counter()
        self.driver: subprocess.Popen[bytes] | None = None

    def measure(self) -> None:
        """Run a sweep undisturbed: what it leaves, and how long it starts and trains."""
        begun = time.monotonic()
        process = self._start("whole")
        self._wait(process, lambda: self._trace("whole") != (), PATIENCE)
        running = time.monotonic()
        self._finish(process)
        self.starting, self.training = running - begun, time.monotonic() - running
        self.expected = contents(self.place / "whole")

    def sweep(self, most: int) -> None:
        """Run one sweep to its end, with kills on the way until there were ``most`` in all; raises Broken."""
        shutil.rmtree(self.place / "killed", ignore_errors=True)
        ended = False
        while not ended:
            before = self._trace("killed")
            process = self._start("killed")
            ways = ["worker"] * self.rng.randrange(MOST_WORKERS + 1) + [self.rng.choice(["driver", "group"])]
            for way in ways[: most - self.killed.total()]:
                busy = self.rng.random() < BUSY
                if busy:
                    self._wait(process, partial(self._changed, before), PATIENCE)
                begun = time.monotonic()
                self._wait(process, lambda: False, self.rng.uniform(0, self.training if busy else self.starting))
                if busy and process.poll() is not None:  # the machine was slower when it was measured: aim earlier
                    self.training = (self.training + time.monotonic() - begun) / 2
                self._kill(process, way)
            if ended := process.poll() is None or process.returncode >= 0:
                self._finish(process)
        found = contents(self.place / "killed")
        names = sorted(
            name for name in found.keys() | self.expected.keys() if found.get(name) != self.expected.get(name)
        )
        if names:
            raise Broken(f"{len(names)} files differ from the uninterrupted sweep: {', '.join(names[:5])}")

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        """Begin a sweep in a process group of its own."""
        with open(self.place / "output.txt", "ab") as output:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "ganbench", *COMMAND, "--results", str(self.place / name)],
                env={**os.environ, "GANBENCH_CHECKPOINT_SECONDS": CHECKPOINT_SECONDS},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.driver

    def end(self) -> None:
        """End the sweep that runs, if any: it has a process group of its own, which Ctrl-C does not reach."""
        if self.driver is not None and self.driver.poll() is None:
            for worker in workers(self.driver.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            os.killpg(self.driver.pid, signal.SIGKILL)
            self.driver.wait()

    def _trace(self, name: str) -> tuple[tuple[str, int, int], ...]:
        """What changes as soon as trials run."""
        found = []
        for path in sorted((self.place / name).glob("*/*/seed-*/*.json*")):
            with contextlib.suppress(OSError):
                found.append((path.name, path.stat().st_size, path.stat().st_mtime_ns))
        return tuple(found)

    def _changed(self, before: tuple[tuple[str, int, int], ...]) -> bool:
        return self._trace("killed") != before

    def _wait(self, process: subprocess.Popen[bytes], until: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, the end of a process, or some seconds."""
        deadline = time.monotonic() + seconds
        while process.poll() is None and not until() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(0.01, left))

    def _kill(self, process: subprocess.Popen[bytes], way: str) -> None:
        if process.poll() is not None:
            return
        target = self.rng.choice(workers(process.pid) or [0]) if way == "worker" else process.pid
        if not target:  # no trial runs at this moment
            return
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if way == "group" else os.kill)(target, signal.SIGKILL)
            self.killed[way] += 1
            done = len(list((self.place / "killed").glob("*/*/seed-*/record.json")))
            say(f"kill {self.killed.total()}: {WAYS[way]}, {done} of {TRIALS} trials finished")
        if way != "worker":
            process.wait()

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Broken(f"a sweep did not end within {PATIENCE:g} s") from None
        if process.returncode:
            lines = (self.place / "output.txt").read_text(errors="replace").splitlines() or [""]
            raise Broken(f"a sweep ended with exit code {process.returncode}: {lines[-1]}")


def contents(results: Path) -> dict[str, bytes]:
    """Every file of a results folder that must not differ from run to run, by its path."""
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.name not in UNLIKE and path.suffix != SHOWS_TIMES
    }


def workers(driver: int) -> list[int]:
    """The processes of a driver's trials: children of its forkserver that lead a session of their own."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.stdout.splitlines())}
    found = []
    for pid, parent in parents.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if parents.get(parent) == driver and os.getsid(pid) == pid:
                found.append(pid)
    return sorted(found)
