"""What hostile input must not do: run, write or connect anywhere, show a traceback, or take a second."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import ganbench.analysis.tiers
import ganbench.cli
import ganbench.cli.merge
import ganbench.runner.session
import ganbench.scoring.samples
import ganbench.scoring.untrusted_files
from ganbench.cli.merge import command as merge
from ganbench.harness.checkpoint import StateMismatch
from ganbench.harness.serialization import Unreadable
from ganbench.reporters import DEFAULT, load_reporters
from ganbench.reporters.report import write_reports
from ganbench.reporters.terminal import show
from ganbench.results.records import DamagedRecord
from ganbench.results.schema import Identity, identify
from ganbench.results.store import Store
from ganbench.utils.errors import UsageError, printable
from ganbench.utils.files import StoreError
from ganbench.utils.sealed_json import seal
from ganbench.utils.typed_json import convert

ROOT = Path(__file__).parents[2]
# What a command turns into one line. Anything else would be a traceback.
REFUSALS = (UsageError, StoreError, DamagedRecord, Unreadable, StateMismatch)
SECONDS = 1.0  # of processor time

RUNS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"}
RUNS |= {"pickle.find_class", "shutil.unpack_archive", "webbrowser.open"}
CONNECTS = {"socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request"}
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
CHANGES |= {"shutil.rmtree", "shutil.move", "shutil.copyfile"}


class Watch:
    """Everything that Python tells its auditors of while a hostile input is read."""

    def __init__(self) -> None:
        self.folder: Path | None = None  # nothing may be written outside; None: nobody watches
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event in RUNS or event in CONNECTS:
            self.seen.append(f"{event} {arguments!r}"[:200])
        elif (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        ):
            self.changed(event, arguments[0])
        elif event in CHANGES:
            for path in arguments[:2]:
                self.changed(event, path)

    def changed(self, event: str, path: Any) -> None:
        if isinstance(path, bytes | str | os.PathLike) and os.fsdecode(path) != os.devnull:
            place = os.path.realpath(os.path.dirname(os.path.abspath(os.fsdecode(path))))
            if not Path(place).is_relative_to(self.folder) and not Path(place).is_relative_to(sys.prefix):
                self.seen.append(f"{event} {os.fsdecode(path)}")


# What a command imports when it needs it takes longer than reading: it is there before the clock starts.
load_reporters(DEFAULT)
COUNTED = {"inputs": 0}
_WATCH = Watch()
sys.addaudithook(lambda event, arguments: _WATCH(event, arguments))


def contents(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a hostile input lies, and where alone something may be written: the cache folder is in it."""
    folder = tmp_path / "inside"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing here is about a crash
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(folder)
    return folder


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"hostile inputs read: {COUNTED['inputs']}")


Harmless = Callable[..., Any]


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A sound trial was reported once: importing modules and compiling templates is no hostile input's cost.

    Nor is looking through all objects of the tests before them, which a collection of garbage does.
    """
    trial = min((ROOT / "results").rglob("dcgan/seed-0-*/record.json")).parent
    folder = tmp_path_factory.mktemp("warm")
    shutil.copytree(trial, folder / "digits" / "dcgan" / trial.name)
    show(write_reports(folder, DEFAULT).report)
    gc.collect()
    gc.freeze()


@pytest.fixture
def harmless(warm: None, inside: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Harmless]:
    """Call a function on hostile input; its result, or the one line with which it was refused.

    Many ``inputs`` may be read at once; they have a second in all.
    """

    def run(function: Callable[[], Any], inputs: int = 1) -> Any:
        around = contents(inside.parent / "outside")
        beside = sorted(path.name for path in inside.parent.iterdir())
        _WATCH.folder, _WATCH.seen = inside.resolve(), []
        start = time.process_time()
        try:
            found = function()
        except REFUSALS as reason:
            found = str(reason)
        finally:
            seconds = time.process_time() - start
            _WATCH.folder = None
        COUNTED["inputs"] += inputs
        assert not _WATCH.seen, _WATCH.seen
        assert contents(inside.parent / "outside") == around
        assert sorted(path.name for path in inside.parent.iterdir()) == beside
        assert not list(inside.rglob("SPRUNG")) and "SPRUNG" not in os.environ
        assert seconds < SECONDS
        printed = "".join(capfd.readouterr())
        assert "Traceback" not in printed
        return found

    yield run
    _WATCH.folder = None


@pytest.fixture(scope="session")
def genuine() -> dict[str, Any]:
    """A real record, its training cut down to a few evaluations."""
    path = min((ROOT / "results").rglob("dcgan/seed-0-*/record.json"))
    record = json.loads(path.read_text())
    record["evaluations"] = record["evaluations"][:2] + record["evaluations"][-1:]
    return record


@pytest.fixture(scope="session")
def resealed() -> Callable[[dict[str, Any]], bytes]:
    """The text of a record as a stranger would write it, every hash in it right; also of what no record may hold."""

    def text(record: dict[str, Any]) -> bytes:
        identity = record.get("identity")
        if isinstance(identity, dict):
            with contextlib.suppress(KeyError, TypeError, ValueError):  # it has nothing to be identified by
                record = {**record, "identity": {**identity, **identify(identity["trial"], identity["evaluation"])}}
        return seal(record).encode()

    return text


@pytest.fixture
def put(inside: Path) -> Callable[..., Path]:
    """Put a record's text into a trial's folder, its own unless another is given."""

    def into(text: bytes, place: str | None = None) -> Path:
        root = inside / "results"
        folder = root / place if place else Store(root).place(convert(json.loads(text)["identity"], Identity))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_bytes(text)
        return folder

    return into


@pytest.fixture
def told(harmless: Any, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code and text of a command that does no harm and prints no escape."""

    def run(command: click.Command, *arguments: str) -> tuple[int, str]:
        printed: list[str] = []

        def call() -> int:
            try:
                command.main(list(arguments), standalone_mode=False)
            except SystemExit as end:
                return int(end.code or 0)
            except StoreError as reason:
                print(printable(str(reason)))
                return 3
            finally:
                printed.extend(capfd.readouterr())
            return 0

        found = harmless(call)
        text = "".join(printed)
        assert "Traceback" not in text and all(c.isprintable() or c == "\n" for c in text), text[:500]
        return (found, text) if isinstance(found, int) else (2, f"{text}{found}")

    return run


@pytest.fixture
def merged(
    told: Callable[..., tuple[int, str]], inside: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], tuple[int, str]]:
    """``ganbench merge results --into target``, after which there are but plain files and folders in the target."""
    monkeypatch.setattr(ganbench.cli.merge, "DEFAULT", ("csv",))  # pages of what can be merged are tested elsewhere

    def run() -> tuple[int, str]:
        found = told(merge, "results", "--into", "target")
        for path in (inside / "target").rglob("*"):
            assert path.is_dir() or (path.is_file() and not path.is_symlink()), path
        return found

    return run
