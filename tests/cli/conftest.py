"""The command line in this process, and in processes that a test kills."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganbench.cli import main


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in this process, in a folder of the test's own: for what trains nothing."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["ganbench", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Begin a command in a process group of its own, and wait until ``count`` files of a pattern are there.

    What it says on standard error stands in the file ``stderr`` of the test's folder.
    """
    begun: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str, until: str, count: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        with open(tmp_path / "stderr", "ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "ganbench", *arguments],
                cwd=tmp_path,
                env={**os.environ, **environment},
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        begun.append(process)
        deadline = time.monotonic() + 300
        while len(list(tmp_path.glob(until))) < count:
            assert process.poll() is None, f"it ended before there were {count} {until}"
            assert time.monotonic() < deadline, f"there are no {count} {until}"
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it could be killed"
        return process

    yield run
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
