"""Where and when a sweep runs changes no bit of it: environment, folder, order, clock. What a disk refuses is said.

pytest -m slow tests/whole/test_surroundings.py      each difference alone, and a disk that fills at other places
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganbench.results.store import Store, read_records

Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="umask and mounts are POSIX")

TINY = ("--datasets", "ring8", "--images", "640", "--evaluations", "3", "--samples", "200", "--seeds", "1")
INLINE = ("--executor", "inline")  # where another process for each trial is not the point
TABLES = ("leaderboard.csv", "leaderboard.md", "trials.csv")
# Every call says an earlier time than the one before, ten years ago.
CLOCK_BACK = """import itertools, time
now, steps = time.time(), itertools.count()
time.time = lambda: now - 3e8 - 60 * next(steps)
"""
DIFFERENCES: dict[str, dict[str, str]] = {
    "hash seed": {"PYTHONHASHSEED": "7"},
    "locale": {"LC_ALL": "C", "LANG": "C"},
    "time zone": {"TZ": "Pacific/Kiritimati"},
    "terminal": {"COLUMNS": "40", "TERM": "dumb"},
    "clock": {"PYTHONPATH": "clock"},
}


def run(
    folder: Path, *arguments: str, mask: int | None = None, results: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``ganbench run`` of two variants, or what is given, in a folder."""
    asked = arguments or ("--plugins", "vanilla,wgan")
    kept = os.umask(mask) if mask is not None else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if environment.get("PYTHONPATH") == "clock":
            (folder / "clock").mkdir()
            (folder / "clock" / "sitecustomize.py").write_text(CLOCK_BACK)
            environment["PYTHONPATH"] = str(folder / "clock")
        command = [sys.executable, "-m", "ganbench", "run", *asked, *TINY, "--results", str(results or "results")]
        return subprocess.run(
            command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=900
        )
    finally:
        if kept is not None:
            os.umask(kept)


def content(results: Path) -> dict[str, bytes]:
    """The records and tables of a results folder."""
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in (*results.glob("*/*/*/record.json"), *(results / name for name in TABLES))
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    done = run(folder, "--plugins", "vanilla,wgan", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert len(content(folder / "results")) == 2 + len(TABLES)
    return folder / "results"


def test_no_surrounding_changes_a_bit(plain: Path, tmp_path: Path) -> None:
    everything = {name: value for difference in DIFFERENCES.values() for name, value in difference.items()}
    elsewhere = tmp_path / "über all" / "results"
    done = run(tmp_path, "--plugins", "wgan,vanilla", "--jobs", "3", mask=0o077, results=elsewhere, **everything)
    assert done.returncode == 0, done.stderr
    assert content(elsewhere) == content(plain)


@pytest.mark.slow
@pytest.mark.parametrize("difference", [*DIFFERENCES, "order", "jobs", "mask", "folder"])
def test_no_surrounding_alone_changes_a_bit(plain: Path, tmp_path: Path, difference: str) -> None:
    done = run(
        tmp_path / "a" / "b" if difference == "folder" else tmp_path,
        "--plugins",
        "wgan,vanilla" if difference == "order" else "vanilla,wgan",
        *(("--jobs", "3") if difference == "jobs" else ()),
        mask=0o077 if difference == "mask" else None,
        results=tmp_path / "results",
        **DIFFERENCES.get(difference, {}),
    )
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "results") == content(plain)


def test_other_threads_and_another_processor_are_marked(plain: Path, tmp_path: Path) -> None:
    (before,) = (r for r in read_records(plain).records if r.label == "vanilla")
    for arguments, environment, field, value in (
        (("--threads", "2"), {}, "threads", 2),
        ((), {"ATEN_CPU_CAPABILITY": "default"}, "cpu_capability", "DEFAULT"),
    ):
        folder = tmp_path / field
        done = run(folder, "--plugins", "vanilla", *arguments, **environment)
        assert done.returncode == 0, done.stderr
        (after,) = read_records(folder / "results").records
        assert after.identity == before.identity
        differs = {key for key, found in after.environment.items() if found != before.environment[key]}
        assert differs == {field} and after.environment[field] == value
        assert after.environment_hash != before.environment_hash


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small disk: ``disk("size=100k")`` mounts one, or mounts it again with other options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        again = "remount," if place.is_mount() else ""
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", str(place)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        return place

    if shutil.which("mount") is None:
        pytest.skip("no mount here")
    yield mount
    if place.is_mount():
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize(
    "size", ["48k", *(pytest.param(f"{n}k", marks=pytest.mark.slow) for n in (12, 24, 32, 64, 80, 96, 128))]
)
def test_a_full_disk_is_named_and_the_next_run_goes_on(
    plain: Path, tmp_path: Path, disk: Callable[[str], Path], size: str, ganbench: Ganbench
) -> None:
    results = disk(f"size={size}") / "results"
    done = run(tmp_path, results=results)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert f"{results}" in done.stderr and "No space left on device" in done.stderr
    for path in results.rglob("*"):
        assert path.suffix != ".tmp", path
    assert read_records(results).problems == []
    disk("size=20m")
    done = ganbench("run", "-p", "vanilla,wgan", *TINY, *INLINE, "--results", str(results))
    assert done.returncode == 0, done.stderr
    assert content(results) == content(plain)


def test_a_folder_that_may_not_be_written_is_named(
    plain: Path, disk: Callable[[str], Path], ganbench: Ganbench
) -> None:
    results = disk("size=20m") / "results"
    shutil.copytree(plain, results)
    disk("ro")
    for command in (["report"], ["run", "--plugins", "vanilla", *TINY, *INLINE]):
        done = ganbench(*command, "--results", str(results))
        assert done.returncode == 3, done.stderr
        assert str(results) in done.stderr and "Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
    assert content(results) == content(plain)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o555)
    done = run(tmp_path, "--plugins", "vanilla")
    assert done.returncode == 3
    assert "results" in done.stderr and "Permission denied" in done.stderr and "Traceback" not in done.stderr


def test_a_second_sweep_is_turned_away_and_the_first_not_disturbed(
    plain: Path, tmp_path: Path, ganbench: Ganbench
) -> None:
    results = tmp_path / "ganbench-results"
    with Store(results).locked():
        done = ganbench("run", "--plugins", "vanilla", *TINY, *INLINE)
        assert done.returncode == 3
        assert f"another ganbench run is using {results.name}" in done.stderr
        assert [path.name for path in results.iterdir()] == [".lock"]
    done = ganbench("run", "--plugins", "vanilla,wgan", *TINY, *INLINE)
    assert done.returncode == 0, done.stderr
    assert content(results) == content(plain)
    assert json.loads(next(results.glob("*/*/*/cost.json")).read_text())["attempts"] == 1
