"""A plugin in a file, plugins that are left out, and versions of the plugin interface."""

from __future__ import annotations

import hashlib
import inspect
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ganbench.plugin import hookspecs

Install = Callable[..., Path]
Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]

THING = """
import torch
from ganbench.plugin import Variant, hookimpl

class Thing(Variant):
    name = "thing"
    def train_step(self, batch, clock):
        return {}
    def sample(self, n, rng=None):
        return torch.rand(n, *self.shape, generator=rng)

@hookimpl
def ganbench_variants():
    return [Thing]
"""
METRIC = """
from ganbench.plugin import Metric, hookimpl

class Spread(Metric):
    name, label, direction = "spread", "Spread", "none"
    def __call__(self, evidence):
        return float(evidence.fake.features.std())

@hookimpl
def ganbench_metrics():
    return [Spread()]
"""
QUICK = ("--seeds", "1", "--images", "640", "--evaluations", "1", "--samples", "50", "--metrics", "coverage")
DRY = ("--dry-run", "--executor", "inline")


def test_a_metric_in_a_file_is_recorded_with_its_hash(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METRIC)
    options = ("--plugin-path", "mine.py", "--metrics", "coverage,spread", "--executor", "inline")
    run = ganbench("run", "--plugins", "noise", "--datasets", "ring8", *QUICK, *options)
    assert run.returncode == 0, run.stderr
    (record,) = (json.loads(path.read_text()) for path in tmp_path.glob("results/*/*/*/record.json"))
    assert record["metrics"]["spread"]["source"] == hashlib.sha256(METRIC.encode()).hexdigest()
    assert "source" not in record["metrics"]["coverage"] and record["values"]["spread"] > 0


def test_a_file_is_trained_and_its_hash_recorded(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "one_off.py").write_text(THING)
    run = ("run", "--plugins", "thing", "--datasets", "ring8", *QUICK, "--plugin-path", "one_off.py")
    result = ganbench(*run)
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "results").glob("*/*/*/record.json")
    trial = json.loads(path.read_text())["identity"]["trial"]
    assert trial["source"] == hashlib.sha256(THING.encode()).hexdigest()
    assert trial["distribution"] == "file:one_off.py"
    assert set(pd.read_csv(tmp_path / "results/leaderboard.csv").variant) == {"thing"}
    assert str(tmp_path) not in path.read_text()
    without = ganbench(*run[:-2])
    assert without.returncode == 2 and "there is no variant 'thing'" in without.stderr


def test_a_file_that_cannot_be_used_is_told_with_its_line(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("import torch\n\nnothing_here()\n")
    for path, said in (
        ("wrong.py", "NameError: name 'nothing_here' is not defined (wrong.py, line 3)"),
        ("missing.py", "no such file"),
        (".", "is a folder"),
    ):
        result = ganbench("run", "--plugins", "thing", *DRY, "--plugin-path", path)
        assert result.returncode == 2 and said in result.stderr and "Traceback" not in result.stderr


def test_what_is_blocked_is_not_imported(install: Install, ganbench: Ganbench, tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    text = f"open({str(mark)!r}, 'w').close()\n" + THING
    site = install("some-things", {"thing.py": text}, {"thing": "thing"})
    for name in ("thing", "some-things"):
        found = ganbench("list", "--json", "--no-plugin", name, site=site)
        assert found.returncode == 0, found.stderr
        listed = json.loads(found.stdout)
        expected = {"entry": "thing", "distribution": "some-things", "version": "1.0", "status": "blocked"}
        assert listed["blocked"] == [expected]
        assert "thing" not in {v["name"] for v in listed["variants"]}
    asked = ganbench("run", "--plugins", "thing", *DRY, "--no-plugin", "thing", site=site)
    assert asked.returncode == 2 and "blocked by --no-plugin" in asked.stderr
    assert not mark.exists()
    reporter = ganbench("list", "--json", "--no-plugin", "latex", site=site)
    assert [point["entry"] for point in json.loads(reporter.stdout)["blocked"]] == ["latex"]
    wrong = ganbench("list", "--no-plugin", "thingg", site=site)
    assert wrong.returncode == 2 and "did you mean thing" in wrong.stderr


def test_blocking_settles_a_duplicate(install: Install, ganbench: Ganbench, tmp_path: Path) -> None:
    site = install("some-things", {"thing.py": THING}, {"thing": "thing"})
    (tmp_path / "one_off.py").write_text(THING)
    run = ("run", "--plugins", "thing", "--datasets", "ring8", *DRY, "--plugin-path", "one_off.py")
    both = ganbench(*run, site=site)
    assert both.returncode == 2 and "some-things" in both.stderr and "file:one_off.py" in both.stderr
    assert ganbench(*run, "--no-plugin", "some-things", site=site).returncode == 0


def test_a_plugin_for_another_version_is_refused(install: Install, ganbench: Ganbench) -> None:
    """Also one whose import already fails, for want of a name that only the other version has."""
    versions = {
        "first-api": "GANBENCH_API = 1\n" + THING,
        "next-api": "GANBENCH_API = 2\n" + THING.replace('"thing"', '"next"'),
        "next-name": "GANBENCH_API = 2\nfrom ganbench.plugin import NotYet\n",
        "odd-api": "GANBENCH_API = '1'\n" + THING.replace('"thing"', '"odd"'),
    }
    for name, text in versions.items():
        module = name.replace("-", "_")
        site = install(name, {f"{module}.py": text}, {name: module})
    listed = json.loads(ganbench("list", "--json", site=site).stdout)
    reasons = {bad["entry"]: bad["reason"] for bad in listed["broken"]}
    assert set(reasons) == {"next-api", "next-name", "odd-api"}
    assert "version 2" in reasons["next-api"] and "has version 1: upgrade ganbench" in reasons["next-api"]
    assert reasons["next-name"] == reasons["next-api"]
    assert "expected a whole number" in reasons["odd-api"]
    (thing,) = [v for v in listed["variants"] if v["name"] == "thing"]
    assert (thing["status"], thing["hooks"], thing["module"]) == ("ok", ["ganbench_variants"], "first_api")
    assert len(thing["source"]) == 64 and thing["hyperparameters"] == []


# Hooks as version 1 of the interface had them. They may gain arguments; none may go, or change its place.
FIRST = {
    "ganbench_variants": [],
    "ganbench_datasets": [],
    "ganbench_extractors": [],
    "ganbench_metrics": [],
    "ganbench_evaluated": ["spec", "evaluation"],
    "ganbench_finished": ["record"],
}


def test_hooks_only_gain_arguments() -> None:
    for name, arguments in FIRST.items():
        now = list(inspect.signature(getattr(hookspecs, name)).parameters)
        assert now[: len(arguments)] == arguments


def test_a_hook_may_take_fewer_arguments_than_there_are() -> None:
    from types import ModuleType

    from ganbench.runner.observers import _observe

    seen = []
    module = ModuleType("old")

    @hookspecs.hookimpl
    def ganbench_evaluated(evaluation):
        seen.append(evaluation)

    module.ganbench_evaluated = ganbench_evaluated
    assert not _observe(module, "old", "ganbench_evaluated", {"spec": {}, "evaluation": {"step": 3}})
    assert seen == [{"step": 3}]


def test_common_mistakes_are_told_with_what_to_write(install: Install, ganbench: Ganbench) -> None:
    mistakes = {
        "an-instance": (THING.replace("[Thing]", "[Thing((2,))]"), "expected the class itself"),
        "no-list": (THING.replace("[Thing]", "Thing"), "expected a list of Variant classes"),
        "no-name": (THING.replace('    name = "thing"\n', ""), "give the class one, name = 'my-gan'"),
        "no-hook": (THING.replace("ganbench_variants", "ganbench_variant"), "did you mean ganbench_variants?"),
        "raising": (THING.replace("return [Thing]", "return [Thing, Other]"), "(raising.py, line 14)"),
    }
    for name, (text, _) in mistakes.items():
        module = name.replace("-", "_")
        site = install(name, {f"{module}.py": text}, {name: module})
    listed = json.loads(ganbench("list", "--json", site=site).stdout)
    reasons = {bad["entry"]: bad["reason"] for bad in listed["broken"]}
    for name, (_, said) in mistakes.items():
        assert said in reasons[name], reasons[name]
