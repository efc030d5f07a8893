"""Shared fixtures: real little distributions, and ganbench run as its users run it."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# What a user's shell has: the suite's own settings must not leak into the processes it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def build_wheel(folder: Path, name: str, modules: dict[str, str], entries: dict[str, str], group: str) -> Path:
    """A real wheel: modules by file name, entry points of one group."""
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    files = dict(modules)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items())
    lines = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    """Install a distribution with pip into a folder of the test's own; put that folder on PYTHONPATH to use it."""
    site = tmp_path / "site"

    def run(name: str, modules: dict[str, str], entries: dict[str, str], group: str = "ganbench") -> Path:
        wheel = build_wheel(tmp_path, name, modules, entries, group)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
        subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
        return site

    return run


REFERENCE = Path(__file__).parent.parent / "results" / "reference"


@pytest.fixture(scope="session")
def fifteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference results: ``dcgan``, ``vanilla`` and ``noise`` on digits, five seeds each, and their tables.

    Nobody writes into this folder: a test that changes something copies it.
    """
    from ganbench.reporting import write_reports

    folder = tmp_path_factory.mktemp("fifteen")
    for variant in ("dcgan", "vanilla", "noise"):
        for path in REFERENCE.glob(f"digits/{variant}/seed-[0-4]-*"):
            shutil.copytree(path, folder / path.relative_to(REFERENCE), ignore=shutil.ignore_patterns("state.*"))
    write_reports(folder, ["csv"])
    return folder


Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ganbench(tmp_path: Path) -> Ganbench:
    """Run the command line in a folder of the test's own."""

    def run(
        *arguments: str, site: Path | None = None, timeout: float = 300, **environment: Any
    ) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **environment}
        if site is not None:
            env["PYTHONPATH"] = str(site)
        return subprocess.run(
            [sys.executable, "-m", "ganbench", *arguments],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
