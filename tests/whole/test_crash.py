"""Every write of a sweep as the last thing a process does, or as one that fails; then the same command again.

The sweeps are real (a small torch GAN), and run in a forked process each, so that hundreds take a minute.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganbench.cli.selftest import contents
from ganbench.utils.errors import UsageError
from ganbench.utils.failpoints import arm, reach

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks")

SMALL = ("--images", "192", "--evaluations", "2", "--samples", "64", "--metrics", "coverage")
SWEEP = ("run", "-p", "vanilla,noise", "-d", "ring8", "--seeds", "1", "--set", "vanilla.width=16", *SMALL)
PARTS, KILLS = 4, 50  # of the long forms, which may run beside each other; kills of each part
Run = Callable[..., int]


@pytest.fixture(scope="module")
def zygote() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(__file__).parents[1] / "fixtures" / "zygote.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANBENCH_CHECKPOINT_SECONDS": "0"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="module")
def run(zygote: subprocess.Popen[str]) -> Run:
    """Run the command line inline in a folder; what it printed is in ``output``."""

    def call(
        folder: Path, *arguments: str, seconds: float | None = None, audit: Path | None = None, **environment: str
    ) -> int:
        folder.mkdir(exist_ok=True)
        (folder / "output").unlink(missing_ok=True)
        order = {
            "arguments": [*arguments, "--executor", "inline"],
            "folder": str(folder),
            "seconds": seconds,
            "audit": str(audit) if audit else None,
        }
        zygote.stdin.write(json.dumps({**order, "environment": environment, "output": str(folder / "output")}) + "\n")
        zygote.stdin.flush()
        return int(zygote.stdout.readline())

    return call


class Whole:
    """An uninterrupted sweep: its files, the failpoints it passed in their order, and what Python saw."""

    def __init__(self, run: Run, folder: Path) -> None:
        log, seen = folder / "passed", folder / "seen"
        assert run(folder, *SWEEP, audit=seen, GANBENCH_FAILPOINT_LOG=str(log)) == 0, (folder / "output").read_text()
        self.passed = log.read_text().splitlines()
        self.seen = Counter(line.partition(" ")[0] for line in seen.read_text().splitlines())
        self.contents = contents(folder / "ganbench-results")


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(run, tmp_path_factory.mktemp("whole"))


def clean(folder: Path) -> Path:
    """A folder without the results of the last sweep in it."""
    shutil.rmtree(folder / "ganbench-results", ignore_errors=True)
    return folder


def check(results: Path, whole: Whole, what: str) -> None:
    found = contents(results)
    differing = sorted(
        name for name in found.keys() | whole.contents.keys() if found.get(name) != whole.contents.get(name)
    )
    assert not differing, f"{what}: {differing}"


def die_at(run: Run, whole: Whole, folder: Path, n: int) -> None:
    assert run(clean(folder), *SWEEP, GANBENCH_FAILPOINT=f"*:{n}:kill") == -9, (n, whole.passed[n - 1])
    assert run(folder, *SWEEP) == 0, (folder / "output").read_text()
    check(folder / "ganbench-results", whole, f"killed at {whole.passed[n - 1]}, passage {n}")


def fail_at(run: Run, whole: Whole, folder: Path, n: int, action: str) -> None:
    """A write that fails is told in one line naming a file, leaves no half a file, and costs nothing."""
    what = f"{action} at {whole.passed[n - 1]}, passage {n}"
    assert run(clean(folder), *SWEEP, GANBENCH_FAILPOINT=f"*:{n}:{action}") == 3, what
    said = (folder / "output").read_text().splitlines()[-1]
    words = {"EIO": "Input/output error", "ENOSPC": "No space left on device"}[action]
    name = whole.passed[n - 1].partition(".")[2]
    assert said.startswith("ganbench: cannot ") and name in said and words in said, (what, said)
    assert "Traceback" not in (folder / "output").read_text()
    for path in (folder / "ganbench-results").rglob("*"):
        assert not path.name.endswith(".tmp"), (what, path)
        if path.is_file() and path.name in whole_names(whole):
            assert path.read_bytes() in whole_names(whole)[path.name], (what, path)
    assert run(folder, *SWEEP) == 0, (folder / "output").read_text()
    check(folder / "ganbench-results", whole, what)


def whole_names(whole: Whole) -> dict[str, list[bytes]]:
    """What a file of each name holds in the uninterrupted sweep; points.csv grows, so it has no one content."""
    found: dict[str, list[bytes]] = {}
    for path, content in whole.contents.items():
        if not path.endswith("points.csv"):
            found.setdefault(Path(path).name, []).append(content)
    return found


def sample(whole: Whole, every: int) -> list[int]:
    """Every so many passages, and one of each name."""
    first = {name: n for n, name in reversed(list(enumerate(whole.passed, start=1)))}
    kinds = {name.partition(".")[0]: n for name, n in first.items()}
    return sorted({*range(1, len(whole.passed) + 1, every), *kinds.values()})


def test_a_sweep_passes_a_failpoint_at_every_write(whole: Whole) -> None:
    counts = Counter(name.partition(".")[0] for name in whole.passed)
    assert len(whole.passed) > 120 and counts["fsync"] == counts["rename"] == counts["write"]
    # What Python's own audit events count: nothing in the results folder changes beside a failpoint.
    expected = {"os.rename": "rename", "os.mkdir": "mkdir", "os.remove": "unlink"}
    assert whole.seen == {"open": counts["open"], **{e: counts[name] for e, name in expected.items()}}
    for name in (
        "record.json",
        "cost.json",
        "checkpoint.safetensors",
        "state.safetensors",
        "history.csv",
        "trials.csv",
    ):
        for operation in ("open", "write", "fsync", "rename", "sync"):
            assert f"{operation}.{name}" in whole.passed
    for name in ("lock..lock", "mkdir.samples", "append.progress.jsonl", "unlink.checkpoint.safetensors"):
        assert name in whole.passed


def test_killed_at_some_writes_it_ends_in_the_same_bytes(run: Run, whole: Whole, tmp_path: Path) -> None:
    points = sample(whole, 24)
    assert len(points) > 5
    for n in points:
        die_at(run, whole, tmp_path, n)


def test_a_write_that_fails_is_named_and_costs_nothing(run: Run, whole: Whole, tmp_path: Path) -> None:
    points = sample(whole, 32)
    assert len(points) > 5
    for i, n in enumerate(points):
        fail_at(run, whole, tmp_path, n, ("EIO", "ENOSPC")[i % 2])


def test_killed_again_and_again_it_ends_in_the_same_bytes(run: Run, whole: Whole, tmp_path: Path) -> None:
    """Each attempt gets a little further than the one before."""
    attempts, status = 0, -9
    while status == -9:
        attempts += 1
        status = run(tmp_path, *SWEEP, GANBENCH_FAILPOINT=f"*:{15 * attempts}:kill")
    assert status == 0 and attempts > 3, (tmp_path / "output").read_text()
    check(tmp_path / "ganbench-results", whole, f"killed {attempts} times")


@pytest.mark.slow  # pytest -m slow tests/whole/test_crash.py -k every -s
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_every_write_it_ends_in_the_same_bytes(run: Run, whole: Whole, part: int, tmp_path: Path) -> None:
    points = range(1 + part, len(whole.passed) + 1, PARTS)
    assert points
    for n in points:
        die_at(run, whole, tmp_path, n)
    print(f"killed at {len(points)} of {len(whole.passed)} writes: all byte-identical")


@pytest.mark.slow  # pytest -m slow tests/whole/test_crash.py -k every -s
@pytest.mark.parametrize("action", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("part", range(PARTS))
def test_at_every_write_that_fails(run: Run, whole: Whole, action: str, part: int, tmp_path: Path) -> None:
    points = range(1 + part, len(whole.passed) + 1, PARTS)
    assert points
    for n in points:
        fail_at(run, whole, tmp_path, n, action)
    print(f"{action} at {len(points)} of {len(whole.passed)} writes: all named, all byte-identical after")


@pytest.mark.slow  # pytest -m slow tests/whole/test_crash.py -k moments -s
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_random_moments_it_ends_in_the_same_bytes(run: Run, whole: Whole, part: int, tmp_path: Path) -> None:
    rng, kills, sweeps, spread = random.Random(part), 0, 0, Counter()
    begun = time.monotonic()
    assert run(tmp_path, *SWEEP) == 0  # the first sweep of the process took longer than the others will
    lasts = time.monotonic() - begun
    while kills < KILLS:
        sweeps, status = sweeps + 1, -9
        clean(tmp_path)
        while status == -9:
            status = run(tmp_path, *SWEEP, seconds=rng.uniform(0, lasts) if kills < KILLS else None)
            kills += status == -9
            files = [path.name for path in tmp_path.glob("ganbench-results/*/*/*/*.json*")]
            spread[f"{files.count('record.json')} finished, {files.count('progress.jsonl')} begun"] += status == -9
        assert status == 0, (tmp_path / "output").read_text()
        check(tmp_path / "ganbench-results", whole, f"after {kills} kills")
    print(f"{kills} kills at random moments in {sweeps} sweeps {dict(spread)}: all byte-identical")


@pytest.mark.parametrize(
    "text", ["x", "x:1", "x:0:kill", "x:-1:kill", "x:one:kill", ":1:kill", "x:1:EPERM", "x:1:kill:", "x:²:EIO"]
)
def test_a_failpoint_that_says_nothing_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match=r"GANBENCH_FAILPOINT=.*expected NAME:N:ACTION"):
        arm({"GANBENCH_FAILPOINT": text})


def test_a_failpoint_counts_what_its_pattern_matches(tmp_path: Path) -> None:
    try:
        for log in ({}, {"GANBENCH_FAILPOINT_LOG": str(tmp_path / "log")}):
            arm({"GANBENCH_FAILPOINT": "rename.*:2:ENOSPC", **log})
            for operation in ("open", "rename", "open"):
                reach(operation, Path("a/record.json"))
            with pytest.raises(OSError, match=r"No space left on device.*a/cost\.json"):
                reach("rename", Path("a/cost.json"))
            reach("rename", Path("a/cost.json"))
        assert (tmp_path / "log").read_text().split()[2:4] == ["open.record.json", "rename.cost.json"]
    finally:
        arm({})
