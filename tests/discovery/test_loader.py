"""Plugins are found, and a bad one takes nothing down: installed, in files, left out, and of other versions.

What runs dry does so inline: in processes of their own plugins are asked in test_faults.py.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from ganbench.discovery import import_probe, imports
from ganbench.discovery.entry_points import Point
from ganbench.plugin import hookspecs
from ganbench.runner.observers import _observe
from ganbench.utils.names import nearest

Install = Callable[..., Path]
Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]

DRY = ("--dry-run", "--executor", "inline")
QUICK = ("--seeds", "1", "--images", "640", "--evaluations", "1", "--samples", "50", "--metrics", "coverage")
THING = """
import torch
from ganbench.plugin import Variant, hookimpl

class Thing(Variant):
    '''A thing.

    In some detail.
    '''
    name = "thing"
    def train_step(self, batch, clock):
        return {}
    def sample(self, n, rng=None):
        return torch.rand(n, *self.shape, generator=rng)

@hookimpl
def ganbench_variants():
    return [Thing]
"""
DOCSTRING = "    '''A thing.\n\n    In some detail.\n    '''\n"
METRIC = '''
"""How far samples are spread."""

from ganbench.plugin import Metric, hookimpl

class Spread(Metric):
    """One of several."""
    name, label, direction = "spread", "Spread", "none"
    def __call__(self, evidence):
        return float(evidence.fake.features.std())

@hookimpl
def ganbench_metrics():
    return [Spread()]
'''
SOUND = {
    "thing": "GANBENCH_API = 1\n" + THING,
    "spread": METRIC,
    "plain": '"""Things without a docstring."""\n' + THING.replace('"thing"', '"plain"').replace(DOCSTRING, ""),
    "cloud": """
from ganbench.plugin import Dataset, hookimpl

@hookimpl
def ganbench_datasets():
    return [Dataset("cloud", (2,), None, "coverage", 1000, load=None)]
""",
}
VERSION_2 = "it was written for version 2 of the plugin interface, and this ganbench has version 1: upgrade ganbench"
# Each with what is said of it.
BROKEN = {
    "no-module": ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
    "exits": ("import sys; sys.exit(0)", "SystemExit"),
    "zz-quits": ("import os; os._exit(0)", "importing zz_quits ended the process with exit code 0"),
    "no-type": (THING.replace("[Thing]", "[object()]"), "expected subclasses of Variant"),
    "bad-name": (THING.replace('"thing"', '"../x"'), "'../x' is not a valid name"),
    "unmarked": (THING.replace("@hookimpl", ""), "it offers nothing: ganbench_variants() is not marked with @hookimpl"),
    "next-api": ("GANBENCH_API = 2\n" + THING, VERSION_2),
    "next-name": ("GANBENCH_API = 2\nfrom ganbench.plugin import NotYet\n", VERSION_2),  # which only that version has
    "odd-api": ("GANBENCH_API = '1'\n" + THING, "expected a whole number"),
    "an-instance": (THING.replace("[Thing]", "[Thing((2,))]"), "expected the class itself"),
    "no-list": (THING.replace("[Thing]", "Thing"), "expected a list of Variant classes"),
    "no-name": (THING.replace('    name = "thing"\n', ""), "give the class one, name = 'my-gan'"),
    "no-hook": (
        THING.replace("ganbench_variants", "ganbench_variant"),
        "'ganbench_variant'; did you mean ganbench_variants?",
    ),
    "raising": (THING.replace("[Thing]", "[Thing, Other]"), "(raising.py, line 18)"),
}


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory, command: Ganbench) -> dict[str, Any]:
    """What ``ganbench list --json`` says where all of them are installed."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, text in {**SOUND, **{name: text for name, (text, _) in BROKEN.items()}}.items():
        module = name.replace("-", "_")
        (folder / f"{module}.py").write_text(text)
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ganbench]\n{name} = {module}\n")
    result = command(folder, "list", "--json", site=folder)
    assert result.returncode == 1, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_what_is_sound_is_listed_with_its_distribution(listing: dict[str, Any]) -> None:
    things = {variant["name"]: variant for variant in listing["variants"]}
    assert {"dcgan", "vanilla", "noise", "thing", "plain"} <= things.keys()
    thing = things["thing"]
    assert (thing["distribution"], thing["version"], thing["status"]) == ("thing", "1.0", "ok")
    assert (thing["hooks"], thing["module"], thing["hyperparameters"]) == (["ganbench_variants"], "thing", [])
    assert len(thing["source"]) == 64


def test_each_is_listed_with_a_line_that_says_what_it_is(listing: dict[str, Any]) -> None:
    about = {one["name"]: one["about"] for kind in ("variants", "metrics", "datasets") for one in listing[kind]}
    assert (about["thing"], about["plain"]) == ("A thing.", "Things without a docstring.")
    assert about["spread"] == "How far samples are spread. [Spread: no direction]"
    assert about["cloud"] == "[points in the plane, ranked by coverage, budget 1,000 images]"
    assert about["memorizer"].startswith("[baseline] ") and about["digits"].count("[1x8x8, 10 classes, ") == 1
    assert [observer["name"] for observer in listing["observers"]] == ["mlflow", "tensorboard", "wandb"]


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_listed_with_the_reason(listing: dict[str, Any], name: str) -> None:
    (reason,) = (bad["reason"] for bad in listing["broken"] if bad["entry"] == name)
    assert BROKEN[name][1] in reason


def test_nothing_else_is_broken(listing: dict[str, Any]) -> None:
    assert {bad["entry"] for bad in listing["broken"]} == BROKEN.keys() and not listing["duplicates"]


def test_every_plugin_that_its_process_does_not_survive_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One interpreter tries what stands before the first of them, another one what stands behind it, and so on."""
    log = f"open({str(tmp_path / 'log')!r}, 'a').write(__name__[-1])\n"
    ends = {"b": "import os; os._exit(3)", "d": "import os; os.kill(os.getpid(), 11)", "f": "while True: pass"}
    points = []
    for name in "abcdefg":
        path = tmp_path / f"{name}.py"
        path.write_text(log + ends.get(name, "print('hello'); raise SystemExit(4)"))
        points.append(Point(name, path.name, f"ganbench_file_{name}", f"file:{path.name}", path=path))
    monkeypatch.setattr(import_probe, "SECONDS", 5.0)
    assert import_probe.find_lethal(points) == {
        1: "ended the process with exit code 3",
        3: "killed the process with SIGSEGV",
        5: "did not end within 5 s",
    }
    assert (tmp_path / "log").read_text() == "abcdefg"
    monkeypatch.setitem(sys.modules, "ganbench_file_b", ModuleType("b"))
    assert import_probe.find_lethal(points[:3]) == {}, "what this process has imported is not tried"


def test_a_broken_plugin_fails_only_the_run_that_asks_for_it(install: Install, ganbench: Ganbench) -> None:
    site = install("broken-exit", {"broken_exit.py": "import sys; sys.exit(0)"}, {"broken-exit": "broken_exit"})
    asked = ganbench("run", "--plugins", "broken-exit", *DRY, site=site)
    assert asked.returncode == 2
    assert "broken-exit" in asked.stderr
    assert "SystemExit" in asked.stderr
    assert "Traceback" not in asked.stderr
    other = ganbench("run", "--plugins", "noise", *DRY, site=site)
    assert other.returncode == 0, other.stderr


def test_two_entry_points_of_one_name_are_an_error_naming_both(install: Install, ganbench: Ganbench) -> None:
    install("first-thing", {"first_thing.py": METRIC}, {"spread": "first_thing"})
    site = install("second-thing", {"second_thing.py": METRIC}, {"spread": "second_thing"})
    result = ganbench("run", "--plugins", "noise", "--metrics", "spread", *DRY, site=site)
    assert result.returncode == 2 and "first-thing" in result.stderr and "second-thing" in result.stderr
    assert ganbench("run", "--plugins", "noise", *DRY, site=site).returncode == 0
    found = ganbench("list", "--json", site=site)
    assert found.returncode == 1
    assert any("first-thing" in text and "second-thing" in text for text in json.loads(found.stdout)["duplicates"])


def test_shadowing_a_first_party_variant_is_an_error(install: Install, ganbench: Ganbench) -> None:
    both = (
        THING.replace('"thing"', '"noise"').replace("return [Thing]", "return [Thing, Other]")
        + """
class Other(Thing):
    name = "my-noise"
"""
    )
    site = install("my-noise", {"my_noise.py": both}, {"my-noise": "my_noise"})
    result = ganbench("run", "--plugins", "noise,my-noise", *DRY, site=site)
    assert result.returncode == 2
    assert "offered by both ganbench (noise) and my-noise (my-noise)" in result.stderr


def test_unknown_names_are_answered_with_the_nearest(ganbench: Ganbench) -> None:
    for arguments, expected in (
        (["--plugins", "dcgann"], "dcgan"),
        (["--plugins", "noise", "--datasets", "digit"], "digits"),
        (["--plugins", "noise", "--metrics", "fidd"], "fid"),
        (["--plugins", "noise", "--extractor", "digitscnn"], "digits-cnn"),
        (["--plugins", "noise", "--executor", "locall"], "local"),
    ):
        result = ganbench("run", *DRY, *arguments)
        assert result.returncode == 2
        assert expected in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("@hookimpl", ""), "it offers nothing: ganbench_variants() is not marked with @hookimpl"),
        (("return [Thing]", "[Thing]"), "it offers nothing: ganbench_variants() returned no variants"),
        (("@hookimpl\ndef ganbench_variants", "def variants"), "it offers nothing: it has none of the hooks ganbench_"),
        (("return [Thing]", "return [Thing, Thing]"), "variant thing is offered twice by the same module"),
    ],
)
def test_a_file_that_offers_nothing_says_why(ganbench: Ganbench, tmp_path: Path, change, why: str) -> None:
    source = THING.replace(*change)
    (tmp_path / "mine.py").write_text(source)
    result = ganbench("run", "--plugins", "thing", "--plugin-path", str(tmp_path / "mine.py"), *DRY)
    assert result.returncode == 2 and "--plugin-path mine.py" in result.stderr and why in result.stderr


def test_a_file_that_is_asked_for_by_its_name_says_what_it_offers(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(THING)
    result = ganbench("run", "--plugins", "mine", "--plugin-path", str(tmp_path / "mine.py"), *DRY)
    assert result.returncode == 2 and "file:mine.py offers variant thing" in result.stderr


REPORTER = """
from ganbench.plugin import Reporter

class Mine(Reporter):
    name = "mine"
    suffix = ".mine"
    def write(self, leaderboard, trials, folder):
        pass

reporter = Mine()
"""


@pytest.mark.parametrize(
    ("name", "source", "why"),
    [
        ("mine", "GANBENCH_API = 2" + REPORTER, "it was written for version 2 of the plugin interface"),
        ("mine", "import os\nos._exit(0)", "ended the process with exit code 0"),
        ("csv", REPORTER, "duplicate: report format csv is installed by both ganbench and ganbench-mine"),
    ],
    ids=["another version", "ends its process", "a second csv"],
)
def test_a_reporter_that_cannot_be_used_is_listed(install: Install, ganbench: Ganbench, name, source, why) -> None:
    point = {name: "mine_report:reporter"}
    site = install("ganbench-mine", {"mine_report.py": source}, point, group="ganbench.reporters")
    result = ganbench("list", site=site)
    assert result.returncode == 1 and why in result.stdout and "dcgan" in result.stdout


def test_failures_on_purpose_are_listed_only_when_asked_for(ganbench: Ganbench) -> None:
    plain, planted = (ganbench("list", *more).stdout for more in ((), ("--planted",)))
    assert "planted-nan" in planted and "planted-nan" not in plain and "dcgan" in plain
    assert "7 variants that fail on purpose" in plain


def test_a_metric_in_a_file_is_recorded_with_its_hash(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METRIC)
    options = ("--plugin-path", "mine.py", "--metrics", "coverage,spread", "--executor", "inline")
    run = ganbench("run", "--plugins", "noise", "--datasets", "ring8", *QUICK, *options)
    assert run.returncode == 0, run.stderr
    (record,) = (json.loads(path.read_text()) for path in tmp_path.glob("ganbench-results/*/*/*/record.json"))
    assert record["metrics"]["spread"]["source"] == hashlib.sha256(METRIC.encode()).hexdigest()
    assert "source" not in record["metrics"]["coverage"] and record["values"]["spread"] > 0


def test_a_file_is_trained_and_its_hash_recorded(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "one_off.py").write_text(THING)
    run = ("run", "--plugins", "thing", "--datasets", "ring8", *QUICK, "--plugin-path", "one_off.py")
    result = ganbench(*run)
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "ganbench-results").glob("*/*/*/record.json")
    trial = json.loads(path.read_text())["identity"]["trial"]
    assert trial["source"] == hashlib.sha256(THING.encode()).hexdigest()
    assert trial["distribution"] == "file:one_off.py"
    assert set(pd.read_csv(tmp_path / "ganbench-results/leaderboard.csv").variant) == {"thing"}
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
    reporter = ganbench("list", "--json", "--no-plugin", "latex")
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


# Hooks as version 1 of the interface had them. They may gain arguments; none may go, or change its place.
FIRST = {
    "ganbench_variants": [],
    "ganbench_datasets": [],
    "ganbench_extractors": [],
    "ganbench_metrics": [],
    "ganbench_evaluated": ["spec", "evaluation"],
    "ganbench_finished": ["record", "folder"],
}


def test_hooks_only_gain_arguments() -> None:
    for name, arguments in FIRST.items():
        now = list(inspect.signature(getattr(hookspecs, name)).parameters)
        assert now[: len(arguments)] == arguments


def test_a_hook_may_take_fewer_arguments_than_there_are() -> None:
    seen = []
    module = ModuleType("old")

    @hookspecs.hookimpl
    def ganbench_evaluated(evaluation):
        seen.append(evaluation)

    module.ganbench_evaluated = ganbench_evaluated
    assert not _observe(module, "old", "ganbench_evaluated", {"spec": {}, "evaluation": {"step": 3}})
    assert seen == [{"step": 3}]


def test_the_packages_of_a_distribution_are_those_that_the_standard_library_finds() -> None:
    everywhere = packages_distributions()
    names = {found.name for found in distributions()}
    for name in names:
        theirs = {package for package, owners in everywhere.items() if name in owners}
        ours = imports.packages(name)
        if sys.version_info < (3, 12):
            assert ours == theirs, name
        else:  # which counts extension modules and folders without code too, but nothing that no import can name
            assert {package for package in ours if package.isidentifier()} <= theirs, name
    assert "ganbench" in names and "ganbench_plugins" in imports.packages("ganbench")
    assert "pluggy" in imports.packages("pluggy") and not imports.packages("file:mine.py")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("FashionMNIST", ["fashion-mnist"]),
        ("Fashion-MNIST", ["fashion-mnist"]),
        ("CIFAR10", ["cifar10"]),
        ("Cifar_10", ["cifar10"]),
        ("Digits", ["digits"]),
        ("digitz", ["digits"]),
        ("nowhere", []),
    ],
)
def test_names_that_differ_in_case_and_punctuation_are_what_was_meant(typed: str, meant: list[str]) -> None:
    assert nearest(typed, ["cifar10", "digits", "fashion-mnist", "folder", "mnist", "ring8"]) == meant
