"""Plugins are found, and a bad one takes nothing down: each case is a real distribution, installed from its wheel.

What runs dry does so inline: in processes of their own plugins are asked in test_faults.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

from ganbench.discovery import source_hash

Install = Callable[..., Path]
Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]

DRY = ("--dry-run", "--executor", "inline")
GOOD = """
import torch
from ganbench.plugin import Variant, hookimpl

class Thing(Variant):
    '''A thing.'''
    name = "{name}"
    def train_step(self, batch, clock):
        return {{}}
    def sample(self, n, rng=None):
        return torch.zeros(n, *self.shape)

@hookimpl
def ganbench_variants():
    return [Thing]
"""
UNKNOWN_HOOK = """
from ganbench.plugin import hookimpl

@hookimpl
def ganbench_variant():
    return []
"""


def listed(result: subprocess.CompletedProcess[str]) -> dict:
    return json.loads(result.stdout)


def test_a_good_plugin_is_listed_with_its_distribution(install: Install, ganbench: Ganbench) -> None:
    site = install("ganbench-thing", {"thing.py": GOOD.format(name="thing")}, {"thing": "thing"})
    result = ganbench("list", "--json", site=site)
    assert result.returncode == 0, result.stderr
    thing = next(v for v in listed(result)["variants"] if v["name"] == "thing")
    assert (thing["distribution"], thing["version"], thing["about"]) == ("ganbench-thing", "1.0", "A thing.")


def test_broken_plugins_are_listed_and_take_nothing_down(install: Install, ganbench: Ganbench) -> None:
    install("broken-import", {"broken_import.py": "import nothing_of_that_name"}, {"broken-import": "broken_import"})
    install("broken-exit", {"broken_exit.py": "import sys; sys.exit(0)"}, {"broken-exit": "broken_exit"})
    install("broken-hook", {"broken_hook.py": UNKNOWN_HOOK}, {"broken-hook": "broken_hook"})
    wrong = "from ganbench.plugin import hookimpl\n@hookimpl\ndef ganbench_variants():\n    return [object()]\n"
    install("broken-type", {"broken_type.py": wrong}, {"broken-type": "broken_type"})
    site = install("broken-name", {"broken_name.py": GOOD.format(name="../x")}, {"broken-name": "broken_name"})
    result = ganbench("list", "--json", site=site)
    assert result.returncode == 1
    found = listed(result)
    assert {"dcgan", "vanilla", "noise"} <= {v["name"] for v in found["variants"]}
    reasons = {bad["entry"]: bad["reason"] for bad in found["broken"]}
    assert "No module named 'nothing_of_that_name'" in reasons["broken-import"]
    assert "SystemExit" in reasons["broken-exit"]
    assert "ganbench_variant'" in reasons["broken-hook"]
    assert "expected subclasses of Variant" in reasons["broken-type"]
    assert "'../x' is not a valid name" in reasons["broken-name"]


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
    install("first-thing", {"first_thing.py": GOOD.format(name="thing")}, {"thing": "first_thing"})
    site = install("second-thing", {"second_thing.py": GOOD.format(name="thing")}, {"thing": "second_thing"})
    result = ganbench("run", "--plugins", "thing", *DRY, site=site)
    assert result.returncode == 2
    assert "first-thing" in result.stderr
    assert "second-thing" in result.stderr
    assert ganbench("run", "--plugins", "noise", *DRY, site=site).returncode == 0
    found = ganbench("list", "--json", site=site)
    assert found.returncode == 1
    assert any("first-thing" in text and "second-thing" in text for text in listed(found)["duplicates"])


def test_shadowing_a_first_party_variant_is_an_error(install: Install, ganbench: Ganbench) -> None:
    both = (
        GOOD.format(name="noise").replace("return [Thing]", "return [Thing, Other]")
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


def test_an_unmarked_hook_is_pointed_out(install: Install, ganbench: Ganbench) -> None:
    source = GOOD.format(name="thing").replace("@hookimpl", "")
    site = install("ganbench-thing", {"thing.py": source}, {"thing": "thing"})
    result = ganbench("run", "--plugins", "thing", *DRY, site=site)
    assert result.returncode == 2
    assert "hookimpl" in result.stderr
    listed = ganbench("list", site=site)
    assert listed.returncode == 1 and "broken: thing (ganbench-thing): it offers nothing" in listed.stdout


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
    source = GOOD.format(name="thing").replace(*change)
    (tmp_path / "mine.py").write_text(source)
    result = ganbench("run", "--plugins", "thing", "--plugin-path", str(tmp_path / "mine.py"), *DRY)
    assert result.returncode == 2 and "--plugin-path mine.py" in result.stderr and why in result.stderr


def test_a_file_that_is_asked_for_by_its_name_says_what_it_offers(ganbench: Ganbench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GOOD.format(name="thing"))
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


def test_observers_are_listed(ganbench: Ganbench) -> None:
    listed = json.loads(ganbench("list", "--json").stdout)
    assert [observer["name"] for observer in listed["observers"]] == ["tensorboard"]


def test_failures_on_purpose_are_listed_only_when_asked_for(ganbench: Ganbench) -> None:
    plain, planted = (ganbench("list", *more).stdout for more in ((), ("--planted",)))
    assert "planted-nan" in planted and "planted-nan" not in plain and "dcgan" in plain
    assert "7 variants that fail on purpose" in plain


def test_the_packages_of_a_distribution_are_those_that_the_standard_library_finds() -> None:
    everywhere = packages_distributions()
    names = {found.name for found in distributions()}
    for name in names:
        theirs = {package for package, owners in everywhere.items() if name in owners}
        ours = source_hash.packages(name)
        if sys.version_info < (3, 12):
            assert ours == theirs - source_hash.FOREIGN, name
        else:  # which counts extension modules and folders without code too, but nothing that no import can name
            assert {package for package in ours if package.isidentifier()} <= theirs, name
    assert "ganbench" in names and "ganbench_plugins" in source_hash.packages("ganbench")
    assert "pluggy" in source_hash.packages("pluggy") and not source_hash.packages("file:mine.py")
