"""The lower bounds of pyproject.toml are tested ones: tox -e lowest installs exactly them."""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def pinned() -> dict[str, Version]:
    lines = (ROOT / "tests/lowest.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    return {pin.name: Version(str(pin.specifier).removeprefix("==")) for pin in pins}


def test_the_constraints_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {}
    for requirement in map(Requirement, project["dependencies"]):
        (bound,) = (s for s in requirement.specifier if s.operator == ">=")
        bounds[requirement.name] = Version(bound.version)
    pins = pinned()
    assert {name: pins.get(name) for name in bounds} == bounds


@pytest.mark.skipif("GANBENCH_LOWEST" not in os.environ, reason="asserted where they are installed: tox -e lowest")
def test_the_lowest_versions_are_what_is_installed() -> None:
    # Without the local part: 2.13.0+cpu is a 2.13.0.
    installed = {name: Version(Version(version(name)).public) for name in pinned()}
    assert installed == pinned()
