"""``ganbench.run``: the command, from Python."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ganbench
from ganbench.cli.selftest import contents
from ganbench.utils.errors import UsageError

SMALL = {"images": 640, "evaluations": 2, "samples": 64, "jobs": 1}


def test_it_is_the_command_to_the_bit(tmp_path: Path) -> None:
    lines: list[str] = []
    frame = ganbench.run(
        ["noise", "vanilla"],
        ["ring8"],
        seeds=[0, 3],
        settings={"vanilla.lr": [2e-3, 3e-3]},
        results=tmp_path / "called",
        metrics=["fid", "coverage"],
        say=lines.append,
        **SMALL,
    )
    assert set(frame.variant) == {"noise", "vanilla", "vanilla[lr=0.002]", "vanilla[lr=0.003]"}
    assert set(frame.seed) == {0, 3} and set(frame.metric) == {"fid", "coverage", "recovered_mass"}
    assert "[8/8]" in lines[-1] and not ganbench.leaderboard(frame).empty
    words = ["run", "-p", "noise,vanilla", "-d", "ring8", "--seeds", "0,3", "--set", "vanilla.lr=0.002|0.003"]
    words += ["-m", "fid,coverage", "--images", "640"]
    words += ["--evaluations", "2", "--samples", "64", "--jobs", "1", "--results", str(tmp_path / "typed")]
    subprocess.run([sys.executable, "-m", "ganbench", *words], check=True, capture_output=True)
    assert contents(tmp_path / "called") == contents(tmp_path / "typed")


def test_a_single_seed_is_that_one_and_a_failed_trial_is_a_result(tmp_path: Path) -> None:
    frame = ganbench.run("planted-nan", "ring8", seeds=[7], results=tmp_path / "r", say=lambda line: None, **SMALL)
    assert set(frame.seed) == {7} and set(frame.status) == {"diverged"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"plugins": "dcgann"}, "dcgann"),
        ({"plugins": "noise", "imagez": 3}, "--imagez"),
        ({"plugins": "noise", "images": 0}, "images"),
    ],
)
def test_what_cannot_be_done_is_said_as_the_command_says_it(tmp_path: Path, asked, message) -> None:
    with pytest.raises(UsageError, match=message):
        ganbench.run(**asked, results=tmp_path / "r", say=lambda line: None)
    assert not (tmp_path / "r").exists()


def test_a_script_needs_no_guard_and_ctrl_c_stops_gently(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import ganbench\n"
        "print('begun', flush=True)\n"
        "ganbench.run('vanilla', 'ring8', seeds=1, images=640_000, samples=64, jobs=1, results='r')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("r/ring8/vanilla/*/progress.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode != 0 and out == "begun\n"
    assert "nothing finished was lost" in errors and errors.rstrip().endswith("KeyboardInterrupt")
    assert list(tmp_path.glob("r/ring8/vanilla/*/checkpoint.safetensors"))


def test_a_display_that_fails_ends_the_command(tmp_path: Path) -> None:
    def fails(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="asking plugins"):
        ganbench.run("noise", "ring8", seeds=1, results=tmp_path / "r", say=fails, **SMALL)
