"""Standard output and standard error that are closed, full or never open: exit codes, and no traceback.

pytest -m slow tests/cli/test_streams.py      the help of every command, and all commands that only read
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from ganbench.cli import cli
from ganbench.cli.selftest import contents
from ganbench.results.store import read_records

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full and closing by >&- are POSIX")

SLOW = pytest.mark.slow
TINY = ("-d", "ring8", "--seeds", "2", "--images", "640", "--evaluations", "2", "--samples", "64", "-m", "coverage")
READING = {
    "list": ["list"],
    "report": ["report", "--results", "{results}"],
    "compare": ["compare", "{results}", "{results}"],
    "show": ["show", "{trial}"],
    "verify": ["verify", "{results}", "--records-only"],
    "merge": ["merge", "{results}", "--into", "merged"],
    "new": ["new", "my-gan"],
    "version": ["--version"],
    "help": ["--help"],
}


@contextmanager
def closed_pipe() -> Iterator[IO[bytes]]:
    """The end to write into of a pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as pipe:
        yield pipe


@contextmanager
def full() -> Iterator[IO[bytes]]:
    with open("/dev/full", "wb", buffering=0) as disk:
        yield disk


def ended(
    folder: Path,
    *arguments: str,
    out: int | IO[bytes] = subprocess.PIPE,
    err: int | IO[bytes] = subprocess.PIPE,
    closing: str = "",
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command; its streams are given, or closed by a shell."""
    command = [sys.executable, "-m", "ganbench", *arguments]
    if closing:
        command = ["sh", "-c", f'exec "$@" {closing}', "sh", *command]
    done = subprocess.run(command, cwd=folder, stdout=out, stderr=err, timeout=300)
    return done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode()


def filled(words: list[str], fifteen: Path) -> list[str]:
    trial = next(fifteen.glob("digits/dcgan/seed-0-*"))
    return [word.format(results=fifteen, trial=trial) for word in words]


@pytest.fixture(params=[name if name == "show" else pytest.param(name, marks=SLOW) for name in READING])
def words(request: pytest.FixtureRequest, fifteen: Path, tmp_path: Path) -> list[str]:
    found = filled(READING[request.param], fifteen)
    if request.param == "report":  # it writes, and nobody writes into the folder that all tests share
        subprocess.run(["cp", "-rL", str(fifteen), str(tmp_path / "copy")], check=True)
        found[-1] = str(tmp_path / "copy")
    return found


def test_a_closed_pipe_ends_a_command_without_a_word(words: list[str], tmp_path: Path) -> None:
    with closed_pipe() as pipe:
        code, _, said = ended(tmp_path, *words, out=pipe)
    assert code == 141 and "Traceback" not in said and "Error" not in said and "Broken pipe" not in said


def test_a_full_disk_is_said_in_one_line(words: list[str], tmp_path: Path) -> None:
    with full() as disk:
        code, _, said = ended(tmp_path, *words, out=disk)
    assert code == 3 and "Traceback" not in said
    assert said.splitlines()[-1] == "ganbench: standard output cannot be written: No space left on device"


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_never_open_costs_nothing(words: list[str], closing: str, tmp_path: Path) -> None:
    code, out, said = ended(tmp_path, *words, closing=closing)
    assert code == 0 and "Traceback" not in said
    assert bool(out) != (closing.startswith(">") or " >&-" in closing)


@pytest.mark.parametrize("gone", [closed_pipe, full])
def test_what_standard_error_could_not_say_costs_nothing(
    gone: Callable[[], Iterator[IO[bytes]]], words: list[str], tmp_path: Path
) -> None:
    with gone() as stream:
        code, out, _ = ended(tmp_path, *words, err=stream)
    assert code == 0 and out


@pytest.mark.parametrize("gone", [closed_pipe, full])
def test_a_refused_command_keeps_its_exit_code(gone: Callable[[], Iterator[IO[bytes]]], tmp_path: Path) -> None:
    for words in (["run"], ["report", "--results", "nowhere"], ["nonsense"]):
        with gone() as stream:
            assert ended(tmp_path, *words, out=stream, err=stream)[0] == 2


@SLOW
@pytest.mark.parametrize("name", cli.commands)
def test_the_help_of_every_command(name: str, tmp_path: Path) -> None:
    with closed_pipe() as pipe:
        assert ended(tmp_path, name, "--help", out=pipe) == (141, "", "")
    with full() as disk:
        code, _, said = ended(tmp_path, name, "--help", out=disk)
        assert code == 3 and said.count("\n") == 1
        assert ended(tmp_path, name, "--help", err=disk)[0] == 0
    for closing in (">&-", "2>&-", ">&- 2>&-"):
        assert ended(tmp_path, name, "--help", closing=closing)[0] == 0


def test_a_reader_that_takes_one_line_gets_it(tmp_path: Path, fifteen: Path) -> None:
    command = [sys.executable, "-m", "ganbench", *filled(READING["show"], fifteen)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("dcgan on digits, seed 0: completed")
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(60) in (0, 141)  # 0 where all was written before


@pytest.mark.parametrize(("gone", "code"), [(closed_pipe, 141), pytest.param(full, 3, marks=SLOW)])
@pytest.mark.parametrize("executor", [pytest.param("local", marks=SLOW), "inline"])
def test_a_sweep_whose_screen_goes_away_trains_to_its_end(
    gone: Callable[[], Iterator[IO[bytes]]], code: int, executor: str, tmp_path: Path
) -> None:
    with gone() as stream:
        found = ended(tmp_path, "run", "-p", "noise,vanilla", *TINY, "--executor", executor, out=stream, err=stream)
    assert found[0] == code
    kept = read_records(tmp_path / "ganbench-results")
    assert [record.status for record in kept.records] == ["completed"] * 4 and not kept.problems
    assert (tmp_path / "ganbench-results/leaderboard.html").is_file()
    assert not list(tmp_path.rglob("checkpoint.safetensors"))


def test_no_file_of_a_sweep_gets_what_a_closed_stream_should_have(tmp_path: Path) -> None:
    """The next file that is opened would get the number 1 or 2, and with it all output."""
    sweep = ("run", "-p", "noise", *TINY, "--executor", "inline")
    assert ended(tmp_path, *sweep, "--results", "open")[0] == 0
    assert ended(tmp_path, *sweep, "--results", "closed", closing="<&- >&- 2>&-")[0] == 0
    assert contents(tmp_path / "closed") == contents(tmp_path / "open")
