"""``ganbench selftest`` and the processes that it finds and compares."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ganbench.cli import cli, selftest
from ganbench.cli.selftest import Broken, Crashes, contents


def test_what_must_not_differ_is_all_but_times_and_logs(tmp_path: Path) -> None:
    folder = tmp_path / "ring8" / "vanilla" / "seed-0-00000000"
    folder.mkdir(parents=True)
    names = ("record.json", "history.csv", "state.safetensors", "cost.json", "log.txt", ".record.json.7.tmp")
    for name in names:
        (folder / name).write_text(name)
    (tmp_path / "trials").mkdir()
    for name in ("leaderboard.csv", "trials.csv", "leaderboard.html", "trials/00000000.html", ".lock"):
        (tmp_path / name).write_text(name)
    found = {Path(name).name for name in contents(tmp_path)}
    assert found == {"record.json", "history.csv", "state.safetensors", ".record.json.7.tmp"} | {
        "leaderboard.csv",
        "trials.csv",
    }


def test_a_folder_that_cannot_be_used_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(cli, ["selftest", "--results", str(tmp_path / "file")])
    assert done.exit_code == 2 and "file" in done.output
    assert CliRunner().invoke(cli, ["selftest", "--kills", "0"]).exit_code == 2


class Ended:
    """A sweep that ends by itself at once."""

    pid, returncode = 0, 0

    def poll(self) -> int:
        return 0

    def wait(self, seconds: float = 0) -> int:
        return 0


def test_a_byte_that_differs_is_a_failure_that_names_the_file(tmp_path: Path) -> None:
    class Planted(Crashes):
        def _start(self, name: str) -> Ended:
            (self.place / name).mkdir(exist_ok=True)
            (self.place / name / "trials.csv").write_text("the same" if name == "whole" else "not the same")
            return Ended()

    crashes = Planted(tmp_path, random.Random(0))
    crashes.measure()
    with pytest.raises(Broken, match=r"1 files differ from the uninterrupted sweep: trials\.csv"):
        crashes.sweep(3)


def test_a_machine_that_was_slow_when_it_was_measured_is_aimed_at_anew(tmp_path: Path) -> None:
    """Sweeps that end by themselves before the moment was there bring the next moments forward."""

    class Quick(Crashes):
        def _start(self, name: str) -> Ended:
            (self.place / name).mkdir(exist_ok=True)
            return Ended()

    crashes = Quick(tmp_path, random.Random(0))
    crashes.measure()
    crashes.starting, crashes.training = 1.0, 1000.0
    for _ in range(20):
        crashes.sweep(3)
    assert crashes.training < 10 and not crashes.killed


@pytest.mark.slow  # pytest -m slow tests/cli/test_selftest.py
def test_it_passes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ganbench", "selftest", "--kills", "4", "--results", str(tmp_path / "here")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed: 4 kills" in done.stdout and done.stdout.count("kill ") >= 4
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.slow  # pytest -m slow tests/cli/test_selftest.py
def test_it_fails_where_a_sweep_fails_and_keeps_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "COMMAND", ["run", "--plugins", "planted-nan", "--seeds", "1", "--images", "64"])
    assert selftest.selftest(1, tmp_path, 0) == 1
    assert "FAILED: a sweep ended with exit code 1" in capsys.readouterr().err and list(tmp_path.iterdir())
