"""Plugins by strangers, installed with pip: an honest one, and sisters of a healthy one with one fault each.

Whatever a plugin does costs its own trial alone: that ends with the right status and a reason a person can use,
and the scores of the others do not change by a bit.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and process groups are POSIX")

Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]
HONEST = Path(__file__).parents[2] / "examples" / "ganbench-hinge"
SISTERS_PACKAGE = Path(__file__).parents[1] / "fixtures" / "ganbench-sisters"
TINY = ("--datasets", "ring8", "--images", "640", "--evaluations", "3", "--samples", "200", "--metrics", "coverage")
INLINE = ("--executor", "inline")  # in the one process that stands for the test: where isolation is not the point
SWEEP = (*TINY, "--seeds", "1", "--jobs", "3", "--timeout", "60", "--memory", "2")

# The first starts first: while it hangs, the other workers get on with the rest.
SISTERS = {
    "hangs": ("timeout", r"it ran longer than 60 s"),
    "raises-step": (
        "error",
        r"ValueError: no gradient for <object object at 0x\.\.\.> in .*\(raises_step\.py, line \d+\)",
    ),
    "raises-init": ("error", r"RuntimeError: no weights for this shape \(raises_init\.py, line \d+\)"),
    "exits-init": ("error", r"SystemExit: no licence \(exits_init\.py, line \d+\)"),
    "exits": ("error", r"SystemExit: 0 \(exits\.py, line \d+\)"),
    "interrupts": ("error", r"KeyboardInterrupt.*\(interrupts\.py, line \d+\)"),
    "unprintable": ("error", r"WordlessError.*\(unprintable\.py, line \d+\)"),
    "shouts": ("error", r"ValueError: =HYPERLINK\(1\) .*A{100}.*\(shouts\.py, line \d+\)"),
    "mutes": ("error", r"ValueError: said to nobody \(mutes\.py, line \d+\)"),
    "nan-loss": ("diverged", r"loss generator is not finite at step 5"),
    "infinite-samples": ("diverged", r"a sample is not finite at step 0"),
    "quits": ("crashed", r"its process ended by itself with exit code 0"),
    "segfaults": ("crashed", r"its process was killed by SIGSEGV"),
    "killed": ("crashed", r"its process was killed by SIGKILL, 3 times"),
    "hoards": ("oom", r"can't allocate memory.*\(hoards\.py, line \d+\)"),
    "misshapes": ("error", r"sample\(200\) returned torch\.float32 \(200, 1, 2\): expected floating point \(200, 2\)$"),
    "retypes": ("error", r"sample\(200\) returned torch\.int64 \(200, 2\): expected floating point \(200, 2\)$"),
    "returns-list": ("error", r"train_step returned .*list.*: expected a mapping"),
    "returns-vector": ("error", r"train_step returned .*discriminator.*: expected scalar tensors"),
    "numbers-losses": ("error", r"train_step returned .*: expected scalar tensors"),
    "tensor-threshold": ("error", r"Tensor"),
    "learns-when-asked": (
        "error",
        r"learns-when-asked changed its own state while it was sampled or scored in eval mode$",
    ),
    "steps-strangers": ("error", r"an optimizer of steps-strangers steps a tensor that is no parameter of the variant"),
    "leaks-lists": ("oom", r"it held more than 2 GB of memory \(--memory\)$"),
    "leaks-tensors": ("oom", r"it held more than 2 GB of memory \(--memory\)$"),
    "leaks-children": ("oom", r"it held more than 2 GB of memory \(--memory\)$"),
    "grabs": ("oom", r"MemoryError \(grabs\.py, line \d+\); its limit is --memory 2$"),
    "quits-init": ("crashed", r"its process ended by itself with exit code 0"),
    "segfaults-init": ("crashed", r"its process was killed by SIGSEGV"),
    "aborts": ("crashed", r"its process was killed by SIGABRT"),
    "closes-files": ("crashed", r"it ran to its end, but its code had closed the pipe by which it tells its result"),
    "recurses": ("error", r"RecursionError: .*\(recurses\.py, line \d+\)"),
    "stops-iteration": ("error", r"StopIteration \(stops_iteration\.py, line \d+\)"),
    "exits-generator": ("error", r"GeneratorExit \(exits_generator\.py, line \d+\)"),
    "redevices": ("error", r"sample\(200\) returned .* on meta: expected floating point \(200, 2\)$"),
    "sparse-samples": ("error", r"sample\(200\) returned .*sparse_coo on cpu: expected floating point"),
    "complex-samples": ("error", r"sample\(200\) returned torch\.complex64 \(200, 2\): expected floating point"),
    "too-few": ("error", r"sample\(200\) returned torch\.float32 \(199, 2\): expected floating point \(200, 2\)$"),
    "nan-weight": ("diverged", r"loss discriminator is not finite at step 5"),
    "grad-off": ("error", r"does not require grad.*\(grad_off\.py, line \d+\)"),
    "writes-dataset": ("error", r"the data of ring8 were overwritten in training"),
    "meta-default": ("error", r"Cannot copy out of meta tensor"),
    "opens-files": ("error", r"cannot write .*: Too many open files, by its own doing$"),
    "shrinks-files": ("error", r"cannot write .*: File too large, by its own doing$"),
    "rebuilds": ("error", r"TypeError"),
    "unloads": ("error", r"\(\w+\.py, line \d+\)"),  # wherever a module is missed first
    "unsavable": ("error", r"memory\.file holds a TextIOWrapper: only tensors"),
    "traces": ("error", r"ValueError: traced"),
    # Its own networks stay in float32 while its latents are drawn in float64: its own next step fails.
    "redefaults": ("error", r"dtype.*\(redefaults\.py, line \d+\)"),
    # These only leave things behind, in a process that ends with them: their trials are sound, if odd.
    "reseeds": ("completed", None),
    "babbles": ("completed", None),
    "leaves-globals": ("completed", None),
    "lingers": ("completed", None),
    "dies-late": ("completed", None),
    "tampers": ("completed", None),
    **dict.fromkeys(
        (
            "undetached",
            "flags",
            "patches-torch",
            "infers",
            "writes-batch",
            "moves",
            "environs",
            "relocates",
            "ignores-signals",
            "unlimited",
            "warns",
            "deletes-results",
            "forks",
            "turns-clock-back",
        ),
        ("completed", None),
    ),
    "healthy": ("completed", None),
}
# They stop the clock of their slot: in the long form only.
SLOW_SISTERS = {
    "stops": ("timeout", r"it ran longer than 60 s"),
    "holds-lock": ("timeout", r"it ran longer than 60 s"),
}
AT_IMPORT = {"raises-at-import", "exits-at-import", "quits-at-import", "segfaults-at-import"}
MARK, UNIQUE = "GANBENCH_TEST_SWEEP", uuid.uuid4().hex  # tells the processes of the sweep among all that run
FAILED = [name for name, (status, _) in SISTERS.items() if status != "completed"]


@dataclass
class Done:
    """A finished command, and the results folder that it wrote."""

    returncode: int
    stdout: str
    stderr: str
    results: Path

    @property
    def trials(self) -> pd.DataFrame:
        return pd.read_csv(self.results / "trials.csv", keep_default_na=False)

    def record(self, variant: str, seed: int = 0) -> bytes:
        (path,) = self.results.glob(f"*/{variant}/seed-{seed}-*/record.json")
        return path.read_bytes()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, installed as pip installs a folder; building happens in a copy."""
    folder = tmp_path_factory.mktemp("packages")
    for package in (HONEST, SISTERS_PACKAGE):
        shutil.copytree(package, folder / package.name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [*pip, "--target", str(folder / "site"), str(folder / HONEST.name), str(folder / SISTERS_PACKAGE.name)],
        check=True,
        capture_output=True,
    )
    return folder / "site"


def done(folder: Path, process: subprocess.CompletedProcess[str]) -> Done:
    return Done(process.returncode, process.stdout, process.stderr, folder / "ganbench-results")


def run(site: Path, folder: Path, *arguments: str, limit: float = 900, **environment: str) -> Done:
    """``ganbench`` in a folder of its own, the packages of ``site`` installed."""
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.run(
        [sys.executable, "-m", "ganbench", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=limit,
    )
    return done(folder, process)


@pytest.fixture(scope="module")
def sweep(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """All sisters in one sweep."""
    return run(site, tmp_path_factory.mktemp("sweep"), "run", "-p", ",".join(SISTERS), *SWEEP, **{MARK: UNIQUE})


def test_every_installed_sister_is_in_the_sweep() -> None:
    installed = tomllib.loads((SISTERS_PACKAGE / "pyproject.toml").read_text())
    names = set(installed["project"]["entry-points"]["ganbench"])
    assert names == SISTERS.keys() | SLOW_SISTERS.keys() | AT_IMPORT
    assert len(SISTERS) - 1 >= 40


def test_every_requested_trial_has_exactly_one_row(sweep: Done) -> None:
    assert sweep.returncode == 1, sweep.stderr
    assert sorted(sweep.trials["variant"]) == sorted(SISTERS)
    board = pd.read_csv(sweep.results / "leaderboard.csv")
    assert dict(zip(board["variant"], board["failed"], strict=True)) == {n: int(n in FAILED) for n in SISTERS}


@pytest.mark.parametrize("name", SISTERS)
def test_a_fault_ends_in_its_status_with_a_useful_reason(sweep: Done, name: str) -> None:
    status, reason = SISTERS[name]
    trials = sweep.trials.set_index("variant")
    assert trials.loc[name, "status"] == status, trials.loc[name, "reason"]
    if reason is None:
        assert trials.loc[name, "reason"] == ""
        assert trials.loc[name, "coverage"] != ""
    else:
        assert re.search(reason, trials.loc[name, "reason"]), trials.loc[name, "reason"]
        assert trials.loc[name, "coverage"] == ""


def test_reasons_are_one_line_and_the_same_on_every_machine(sweep: Done, site: Path) -> None:
    text = (sweep.results / "trials.csv").read_text()
    assert len(text.splitlines()) == len(SISTERS) + 1
    for reason in sweep.trials["reason"]:
        assert reason == "" or reason.isprintable(), reason
        assert len(reason) < 600
        assert not re.search(r"0x[0-9a-f]+|(?<!\w)/\w+/", reason), reason
        assert str(site) not in reason


def test_nothing_that_a_plugin_prints_or_raises_reaches_the_terminal(sweep: Done) -> None:
    output = sweep.stdout + sweep.stderr
    assert "Traceback" not in output
    assert "babble " not in output
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", output)
    (log,) = sweep.results.glob("ring8/raises-step/*/log.txt")
    assert "Traceback" in log.read_text()
    (log,) = sweep.results.glob("ring8/babbles/*/log.txt")
    assert log.stat().st_size > 10_000_000


def test_the_healthy_sister_does_not_notice(sweep: Done, site: Path, tmp_path: Path, command: Ganbench) -> None:
    arguments = ("run", "-p", "healthy", *TINY, "--seeds", "1,0", *INLINE)
    alone = done(tmp_path, command(tmp_path, *arguments, site=site))
    assert alone.returncode == 0, alone.stderr
    assert alone.record("healthy") == sweep.record("healthy")
    assert alone.record("healthy", seed=1) != sweep.record("healthy")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_no_process_is_left_behind(sweep: Done) -> None:
    def left() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"{MARK}={UNIQUE}".encode() in path.read_bytes():
                    found.append((path.parent / "cmdline").read_text().replace("\0", " "))
            except OSError:  # it ended while we looked, or is not ours
                continue
        return found

    deadline = time.monotonic() + 10  # the helpers of multiprocessing end a moment after their parent
    while left() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left() == []


def test_failed_trials_are_kept_and_run_again_only_when_asked(sweep: Done, site: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep.results, tmp_path / "ganbench-results")
    healthy = next(tmp_path.glob("ganbench-results/ring8/healthy/*/record.json"))
    written = healthy.stat().st_mtime_ns
    some = ("run", "-p", "healthy,reseeds,raises-step,segfaults,nan-loss", *SWEEP)
    for extra, told in (
        ((), "0 trials to run, 5 finished earlier"),
        (("--retry-failed",), "3 trials to run, 2 finished earlier"),
    ):
        again = run(site, tmp_path, *some, *extra)
        assert again.returncode == 1
        assert told in again.stderr
        assert healthy.stat().st_mtime_ns == written
        for table in ("trials.csv", "leaderboard.csv", "leaderboard.md"):
            assert (again.results / table).read_bytes() == (sweep.results / table).read_bytes()


def test_a_plugin_that_cannot_be_imported_is_named_and_fails_only_who_asks_for_it(
    site: Path, tmp_path: Path, command: Ganbench
) -> None:
    listed = command(tmp_path, "list", site=site)
    assert listed.returncode == 1
    text = listed.stdout + listed.stderr
    assert re.search(r"raises-at-import \(ganbench-sisters\): .*OSError: libmagic\.so is missing", text)
    assert re.search(r"exits-at-import \(ganbench-sisters\): .*SystemExit: 0", text)
    where = r"at-import \(ganbench-sisters\): importing ganbench_sisters\."
    assert re.search(rf"quits-{where}quits_at_import ended the process with exit code 0", text)
    assert re.search(rf"segfaults-{where}segfaults_at_import killed the process with SIGSEGV", text)
    assert re.search(r"^hinge +ok +ganbench-hinge 0\.1 .*Hinge loss", text, re.MULTILINE)

    asked = run(site, tmp_path, "run", "-p", "healthy,exits-at-import", *TINY)
    assert asked.returncode == 2
    assert re.search(r"exits-at-import.*ganbench-sisters.*SystemExit: 0", asked.stderr)
    assert "Traceback" not in asked.stderr
    assert not asked.results.exists()


def test_a_plugin_that_ends_what_imports_it_is_named(site: Path, tmp_path: Path, command: Ganbench) -> None:
    asked = run(site, tmp_path, "run", "-p", "healthy,quits-at-import", *TINY)
    assert asked.returncode == 2
    assert "its process ended by itself with exit code 0 while it was being asked about itself" in asked.stderr
    assert re.search(r"quits-at-import \(ganbench-sisters\): importing .* ended the process", asked.stderr)
    assert not asked.results.exists()
    misspelt = command(
        tmp_path, "run", "-p", "healthi", *TINY, *INLINE, site=site
    )  # looked for in every plugin there is
    assert misspelt.returncode == 2
    assert "did you mean healthy" in misspelt.stderr


@pytest.mark.slow
def test_faults_change_no_byte_of_other_records_in_any_order(sweep: Done, site: Path, tmp_path: Path) -> None:
    """``pytest -m slow tests/whole/test_faults.py``: every sister three times, in three orders, at 1 and at 3 jobs."""
    names = [*SISTERS, *SLOW_SISTERS]
    fixed = [n for n, (status, _) in SISTERS.items() if status not in ("timeout", "oom")]
    orders = {"backwards": (names[::-1], "3"), "shuffled": (random.Random(6).sample(names, len(names)), "1")}
    for order, (sisters, jobs) in orders.items():
        folder = tmp_path / order
        folder.mkdir()
        again = run(site, folder, "run", "-p", ",".join(sisters), *SWEEP, "--jobs", jobs, limit=3600)
        assert again.returncode == 1, again.stderr
        statuses = dict(zip(again.trials["variant"], again.trials["status"], strict=True))
        assert statuses == {name: status for name, (status, _) in {**SISTERS, **SLOW_SISTERS}.items()}
        changed = [name for name in fixed if again.record(name) != sweep.record(name)]
        assert changed == []


def test_a_strangers_plugin_is_trained_and_ranked_beside_ours(site: Path, tmp_path: Path, command: Ganbench) -> None:
    settings = ("--set", "hinge.width=32", "--set", "hinge.decay=0.5", "--seeds", "2")
    small = ("--datasets", "digits,ring8", "--images", "1280", "--evaluations", "2", "--samples", "200")
    ranked = done(tmp_path, command(tmp_path, "run", "-p", "hinge,vanilla", *settings, *small, *INLINE, site=site))
    assert ranked.returncode == 0, ranked.stderr
    board = pd.read_csv(ranked.results / "leaderboard.csv")
    assert sorted(set(board["dataset"])) == ["digits", "ring8"]
    for _, rows in board.groupby("dataset"):
        assert sorted(rows["variant"]) == ["hinge[decay=0.5,width=32]", "vanilla"]
        assert rows["rank"].notna().all()
        assert (rows["seeds"] == 2).all() and (rows["failed"] == 0).all()
    assert (ranked.trials["status"] == "completed").all() and len(ranked.trials) == 8
