"""Shared fixtures: real little distributions, and ganbench run as its users run it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def missing() -> list[str]:
    """Which of ganbench and the packages that its tests need are not installed."""
    needed = ["ganbench"]
    for requirement in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]:
        needed += re.findall(r"^[\w.-]+", requirement)
    lacking = []
    for name in needed:
        try:
            version(name)
        except PackageNotFoundError:
            lacking.append(name)
    return lacking


if missing():
    sys.exit(f"The tests need {', '.join(missing())}: pip install -e '.[test]', or python tests/run.py")

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
    """Install a distribution into a folder of the test's own; put that folder on PYTHONPATH to use it.

    A wheel of modules is unpacked, which is all that pip does with it; test_faults.py installs with pip itself.
    """
    site = tmp_path / "site"

    def run(name: str, modules: dict[str, str], entries: dict[str, str], group: str = "ganbench") -> Path:
        with zipfile.ZipFile(build_wheel(tmp_path, name, modules, entries, group)) as wheel:
            wheel.extractall(site)
        return site

    return run


REFERENCE = ROOT / "results" / "reference"


@pytest.fixture(scope="session")
def fifteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference results: ``dcgan``, ``vanilla`` and ``noise`` on digits, five seeds each, and their tables.

    Nobody writes into this folder: a test that changes something copies it.
    """
    from ganbench.reporters.report import write_reports

    folder = tmp_path_factory.mktemp("fifteen")
    for variant in ("dcgan", "vanilla", "noise"):
        for path in REFERENCE.glob(f"digits/{variant}/seed-[0-4]-*"):
            shutil.copytree(path, folder / path.relative_to(REFERENCE), ignore=shutil.ignore_patterns("state.*"))
    write_reports(folder, ["csv"])
    return folder


Ganbench = Callable[..., "subprocess.CompletedProcess[str]"]
SUITE = dict(os.environ)
# What pytest, and ganbench where a test uses it in this process, write into the environment.
OURS = {"PYTEST_CURRENT_TEST", "CUBLAS_WORKSPACE_CONFIG", "PYTHONHASHSEED", "OMP_WAIT_POLICY"}
OURS |= {f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS")}
# How variables begin that are read when a command runs, and not when a module is imported.
LATE = ("GANBENCH_", "XDG_", "TORCH_HOME")


class Zygote:
    """A process that has imported what ganbench imports, and forks one for each command."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "output", folder / "errors"
        start = [sys.executable, str(Path(__file__).parent / "fixtures" / "zygote.py"), "all"]
        self.process = subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=SUITE)

    def run(
        self, where: Path, arguments: tuple[str, ...], path: list[str], environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """``python -m ganbench`` in a folder; it is killed after a quarter of an hour."""
        for file in self.files:
            file.unlink(missing_ok=True)
        order = {"arguments": arguments, "folder": str(where), "environment": environment, "seconds": 900}
        order |= {"audit": None, "path": path, "output": str(self.files[0]), "errors": str(self.files[1])}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, *(file.read_text() for file in self.files))

    def close(self) -> None:
        self.process.kill()  # by itself it would take seconds to unload torch
        self.process.communicate()


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ganbench]:
    """Run the command line in a folder: ``command(folder, "list", site=site, LC_ALL="C")``.

    Where the environment is the suite's own but for what commands read late, in a fork of a process that has imported
    what ganbench imports: the same code without the seconds that importing torch takes. Otherwise, and with
    ``timeout``, in a new interpreter.
    """
    zygotes: list[Zygote] = []

    def run(
        where: Path, *arguments: str, site: Path | None = None, timeout: float | None = None, **environment: Any
    ) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **environment}
        changed = {k for k in env.keys() | SUITE.keys() if env.get(k) != SUITE.get(k)} - OURS
        late = {k: env[k] for k in changed & env.keys() if k.startswith(LATE)}
        if hasattr(os, "fork") and timeout is None and changed == late.keys():
            if not zygotes:
                zygotes.append(Zygote(tmp_path_factory.mktemp("commands")))
            return zygotes[0].run(where, arguments, [str(site)] if site is not None else [], late)
        if site is not None:
            env["PYTHONPATH"] = str(site)
        return subprocess.run(
            [sys.executable, "-m", "ganbench", *arguments],
            cwd=where,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout or 900,
        )

    yield run
    for zygote in zygotes:
        zygote.close()


@pytest.fixture
def ganbench(command: Ganbench, tmp_path: Path) -> Ganbench:
    """Run the command line in a folder of the test's own."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return command(tmp_path, *arguments, **options)

    return run
