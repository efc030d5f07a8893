"""``ganbench check`` as its users run it: isolated checks, exit codes, known failures, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ganbench.cli.check import Outcome, _print

Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]

# Ends its process, or hangs, when it is trained; loads and saves without fault.
WILD = """
import os, time, torch
from ganbench.plugin import Variant, hookimpl

class Ends(Variant):
    name = "ends"
    expected_failed_checks = {"parameters_in_one_optimizer": "none at all, and that is no failure"}
    def train_step(self, batch, clock):
        os._exit(3)
    def sample(self, n, rng=None):
        return torch.rand(n, *self.shape, generator=rng)

class Hangs(Ends):
    name = "hangs"
    expected_failed_checks = {"finite_losses": "it hangs, as everybody knows"}
    def train_step(self, batch, clock):
        time.sleep(1000)

@hookimpl
def ganbench_variants():
    return [Ends, Hangs]
"""
INLINE = ("--executor", "inline")  # where no check ends its process
CHECKS = "finite_losses,parameters_in_one_optimizer,hyperparameters_documented"


def test_a_crash_or_a_hang_is_the_failure_of_its_check(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "wild.py").write_text(WILD)
    command = ("check", "ends", "hangs", "--plugin-path", "wild.py", "--checks", CHECKS, "--timeout", "15")
    result = ganbench(*command, "--json")
    assert result.returncode == 1, result.stderr
    ends, hangs = json.loads(result.stdout)["plugins"]
    assert (ends["name"], ends["kind"], ends["distribution"]) == ("ends", "variant", "file:wild.py")
    assert not ends["passed"] and hangs["passed"]
    by_name = {one["name"]: one for one in ends["checks"]}
    assert by_name["finite_losses"]["status"] == "failed" and "exit code 3" in by_name["finite_losses"]["message"]
    assert by_name["parameters_in_one_optimizer"]["status"] == "outdated"
    assert by_name["hyperparameters_documented"]["status"] == "passed"
    assert all(one["reason"] for one in ends["checks"])
    by_name = {one["name"]: one for one in hangs["checks"]}
    assert by_name["finite_losses"]["status"] == "known"
    assert "everybody knows (it ran longer than 15 s" in by_name["finite_losses"]["message"]


def test_what_was_seen_and_why_it_matters_is_printed(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "wild.py").write_text(WILD.replace("os._exit(3)", "raise RuntimeError(0)"))
    result = ganbench("check", "ends", "--plugin-path", "wild.py", "--checks", "optimizers_named", *INLINE)
    assert result.returncode == 1
    assert "optimizers_named: failed" in result.stdout and "why it matters: Steps of the optimizers" in result.stdout
    assert result.stdout.rstrip().endswith("ends: 1 failed")


def test_a_cause_of_several_failures_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    failed = [("a", "boom"), ("b", "other"), ("c", "boom"), ("d", "boom")]
    outcomes = [Outcome(name, "failed", message, f"reason of {name}", 1.0) for name, message in failed]
    _print({"kind": "variant", "name": "x", "distribution": ""}, [*outcomes, Outcome("e", "passed", "", "", 1.0)])
    told = capsys.readouterr().out
    assert told.count("boom") == 1 and "for the same reason failed c, d: mend this" in told
    assert told.count("why it matters") == 1 and "why it matters: reason of b" in told
    assert told.rstrip().endswith("x: 1 passed, 4 failed")


KNOWN = """
from ganbench.plugin import Dataset, hookimpl

@hookimpl
def ganbench_datasets():
    known = {"declares_itself": "no metric of that name is installed here"}
    return [Dataset("cloud", (2,), None, "nothing", 1000, load=None, expected_failed_checks=known)]
"""


def test_a_dataset_made_by_arguments_says_what_it_fails(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "known.py").write_text(KNOWN)
    result = ganbench("check", "cloud", "--plugin-path", "known.py", "--checks", "declares_itself", "--json", *INLINE)
    assert result.returncode == 0, result.stderr
    (check,) = json.loads(result.stdout)["plugins"][0]["checks"]
    assert check["status"] == "known" and "no metric of that name" in check["message"]


def test_there_is_no_such_plugin_or_check(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "wild.py").write_text(WILD.replace("finite_losses", "finite"))
    for arguments, said in (
        (("vanila",), "did you mean vanilla"),
        (("vanilla", "--checks", "finit"), "finite_losses"),
        (("vanilla", "--checks", "finite_losses,finit"), "--checks finit: a variant has"),
        (("csv", "--kind", "metric"), "there is no metric 'csv'"),
        (("hangs", "--plugin-path", "wild.py"), "there is no check 'finite'"),
    ):
        result = ganbench("check", *arguments, *INLINE)
        assert result.returncode == 2 and said in result.stderr, result.stderr
        assert "Traceback" not in result.stderr


EXPANDED = """
from ganbench.conformance import parametrize_with_checks

@parametrize_with_checks("identity", expected_failed_checks={"declares_its_weights": "it does, though"})
def test_conformance(plugin, check):
    check(plugin)
"""


def test_an_expected_failure_that_passes_fails_under_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(EXPANDED)
    (tmp_path / "test_misspelt.py").write_text(EXPANDED.replace("identity", "identiti"))
    options = ("-q", "-p", "no:cacheprovider", "--strict-markers", "--continue-on-collection-errors")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True
    )
    assert "1 failed, 5 passed, 1 error" in done.stdout, done.stdout
    assert "XPASS(strict)" in done.stdout and "it does, though" in done.stdout
    assert "did you mean identity" in done.stdout
