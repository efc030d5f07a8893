"""The results folder: ``<dataset>/<variant>/seed-<seed>-<id>/record.json`` and what stands beside it.

``read_records`` reads a folder whole, ``locate`` finds one trial of it, and ``Store`` writes into it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import filelock
from msgspec.structs import replace

from ganbench.results import rescored
from ganbench.results.progress import FILE as PROGRESS
from ganbench.results.records import MOST_BYTES, DamagedRecord, read, seal, unseal
from ganbench.results.rescored import with_rescored
from ganbench.results.schema import Identity, Record
from ganbench.results.spec import TrialSpec
from ganbench.utils import canonical_json
from ganbench.utils.console import say
from ganbench.utils.errors import UsageError
from ganbench.utils.failpoints import reach
from ganbench.utils.files import (
    StoreError,
    copy_plain_files,
    leads_outside,
    make_folder,
    move,
    read_plain,
    remove,
    remove_links,
    store_errors,
    with_remedy,
    write_atomic,
)
from ganbench.utils.names import is_path

DEFAULT_FOLDER = "ganbench-results"  # a name that no project has for its own files
EARLIER_FOLDER = "results"  # what it was called before
SET_ASIDE = ("quarantine", "superseded")
WRITTEN = (PROGRESS, "log.txt")  # by a trial, line by line
UNFINISHED = (PROGRESS, "checkpoint.safetensors")
PAGES = "trials"  # beside the tables: a page for each trial
TEMPORARY = ".*.[0-9]*.tmp"  # what write_atomic renames: the name and the process that writes it


@dataclass(frozen=True)
class Problem:
    """A record or folder that could not be read: where, why, and what to do if the reason does not say it."""

    path: Path
    reason: str
    remedy: str = "; ganbench run trains it again"


@dataclass(frozen=True)
class Contents:
    """What a results folder holds: sound records, damaged ones, and counts of what tables leave out."""

    records: list[Record]
    problems: list[Problem]
    interrupted: int
    superseded: int


def trial_folders(root: Path, problems: list[Problem]) -> Iterator[Path]:
    """The folders of trials below a results folder, in the order of their paths, but not those that were set aside.

    A folder that may not be read is added to ``problems``.
    """

    def listed(folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as reason:
            problems.append(Problem(folder, with_remedy(reason), ""))
            return []

    for dataset in listed(root):
        for variant in [] if dataset.name in SET_ASIDE else listed(dataset):
            yield from (folder for folder in listed(variant) if folder.name.startswith("seed-"))


class Reading:
    """One pass over the records below a folder: the sound ones, in the order of their paths; a damaged one is named."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.problems: list[Problem] = []
        self.interrupted = 0

    def __iter__(self) -> Iterator[Record]:
        """Records one after the other, in the order of their folders; what is damaged is noted and passed over."""
        for folder in trial_folders(self.root, self.problems):
            path = folder / "record.json"
            try:
                if not _is_there(path):
                    self.interrupted += any(_is_there(folder / name) for name in UNFINISHED)
                    continue
                record = read(path)
                if folder.relative_to(self.root) != record.identity.folder:
                    raise DamagedRecord(f"it belongs in {record.identity.folder}: the folder was copied or renamed")
            except OSError as reason:
                self.problems.append(Problem(path, with_remedy(reason), ""))
            except DamagedRecord as reason:
                self.problems.append(Problem(path, str(reason)))
            else:
                try:
                    record = with_rescored(record, folder)
                except DamagedRecord as reason:
                    again = "; ganbench rescore computes it again"
                    self.problems.append(Problem(folder / rescored.FILE, str(reason), again))
                yield record

    def contents(self, records: list[Record]) -> Contents:
        """What it has found, with these records."""
        superseded = sum(1 for _ in trial_folders(self.root / "superseded", []))
        return Contents(records, self.problems, self.interrupted, superseded)


def _is_there(path: Path) -> bool:
    """Whether there is a file or link of that name; raises OSError where nobody may look."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def read_records(root: Path | str) -> Contents:
    """Every record below ``root``, in the order of their paths; a damaged one is named, never used."""
    reading = Reading(root)
    return reading.contents(list(reading))


class StoredRecords(Sequence[Record]):
    """The records of a results folder for tables, for which thousands need not fit into memory.

    They are those that ``read`` has gone through. Each is whole: it is read again when it is asked for.

    Attributes:
        abridged: the same without what only the page of a trial shows: what was watched at evaluations before the last.
            What many have in common (environment, columns, reference) is there once.
    """

    def __init__(self, root: Path | str) -> None:
        self.reading = Reading(root)
        self.abridged: list[Record] = []
        self._shared: dict[tuple[str, ...], Any] = {}

    def read(self) -> Iterator[Record]:
        """Every sound record below the folder, whole, in the order of their paths; call it once."""
        for record in self.reading:
            self.abridged.append(self._abridge(record))
            yield record

    def __len__(self) -> int:
        return len(self.abridged)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        found = self.abridged[index]
        return [self.reread(one) for one in found] if isinstance(found, list) else self.reread(found)

    def reread(self, record: Record) -> Record:
        """All of a record of ``abridged``; that itself where its file is no longer what was read."""
        folder = self.reading.root / record.identity.folder
        try:
            found = read(folder / "record.json")
            return with_rescored(found, folder) if found.sha256 == record.sha256 else record
        except (OSError, DamagedRecord):
            return record

    def _abridge(self, record: Record) -> Record:
        def shared(name: str, *key: str) -> Any:
            value = getattr(record, name)
            known = self._shared.setdefault((name, *key), value)
            return known if known == value else value

        table = record.identity.trial.dataset, record.identity.protocol
        return replace(
            record,
            environment=shared("environment", record.environment_hash),
            metrics=shared("metrics", *table),
            reference=shared("reference", *table),
            evaluations=[*(replace(one, watch=None) for one in record.evaluations[:-1]), *record.evaluations[-1:]],
        )


def abridged(records: Sequence[Record]) -> Sequence[Record]:
    """Return stored records without what only a trial's page needs, which stays on disk; others as they are."""
    return records.abridged if isinstance(records, StoredRecords) else records


def takes_name(text: str, known: bool, what: str, note: Callable[[str], object], other: str = "") -> bool:
    """Whether a text means a name and not a path: the rule of every command that takes either.

    A word that is a name (a dataset, the id of a trial, ``reference``) means what has it. What holds a ``/`` or begins
    with ``~`` is a path, and so is a word that is no name. Where both exist, a note says which was taken and how
    the path is written.

    Args:
        known: whether there is such a name.
        what: it is, for the note.
        other: how the path is written; ``./<text>`` unless given.
    """
    if is_path(text) or not known:
        return False
    path = typed_path(text)
    if path.exists():
        note(f"{text} is {what}; the {'folder' if path.is_dir() else 'file'} of that name is {other or f'./{text}'}")
    return True


def tell(text: str) -> None:
    """Print a note where it does not mix with a command's output."""
    say(f"note: {text}", sys.stderr)


def locate(text: str, results: Path, note: Callable[[str], object] = tell) -> Path:
    """The folder of the trial that ``text`` names: eight digits of an id below ``results``, or that folder itself.

    Raises:
        UsageError: there is none, or several. The message says what to do.
    """
    is_id = re.fullmatch(r"[0-9a-f]{8}", text) is not None
    folders = sorted(results.glob(f"*/*/seed-*-{text}")) if is_id else []
    if not takes_name(text, bool(folders), f"the id of a trial in {results}", note):
        path = typed_path(text)
        if path.is_dir():
            if any(path.glob("*/*/seed-*")):
                raise UsageError(f"{text} is a results folder; name the folder of one of its trials")
            return path
        if not is_id:
            raise UsageError(
                f"there is no folder {text}; name a trial's folder, or its id of eight digits as trials.csv has it"
            )
    if len(folders) != 1:
        raise UsageError(f"{len(folders)} trials in {results} have the id {text}; name the trial's folder")
    return folders[0]


def typed_path(text: str) -> Path:
    """The path that a user typed, ``~`` being a home folder; raises UsageError where no file can have that name."""
    if not text:
        raise UsageError("a name is empty: is a variable of the shell unset?")
    try:
        path = Path(text).expanduser()
        path.is_dir()
    except (OSError, RuntimeError) as reason:  # too long, or the home folder of nobody
        raise UsageError(f"{text[:100]} cannot be read: {getattr(reason, 'strerror', None) or reason}") from None
    return path


class Store:
    """One results folder, open for writing.

    Args:
        work: where running trials write, if not there: a folder that every machine sees. What a trial leaves is
            fetched when it has ended.
        option: that names it on the command line, for messages.
    """

    def __init__(self, root: Path | str, work: Path | str | None = None, option: str = "--results") -> None:
        self.root, self.option = Path(root), option
        apart = work is not None and Path(work).resolve() != self.root.resolve()
        self.work = Store(work, option="--storage") if work is not None and apart else None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; raises StoreError when another sweep has it."""
        try:
            make_folder(self.root)
        except StoreError as reason:
            raise StoreError(f"{reason}, or give another folder with {self.option}") from reason.__cause__
        lock = filelock.FileLock(self.root / ".lock")
        try:
            if Path(lock.lock_file).is_symlink():  # locking would empty the file that it leads to
                raise OSError(errno.ELOOP, "it is a link")
            reach("lock", self.root / ".lock")
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise StoreError(
                f"another ganbench run is using {self.root}; wait for it, "
                f"or give this one its own folder with {self.option}"
            ) from None
        except OSError as reason:
            raise StoreError(
                f"cannot write {self.root / '.lock'}: {with_remedy(reason)}, or give another folder with {self.option}"
            ) from None
        try:
            for folder in (self.root, self.root / PAGES):  # what a kill left half written of tables and pages
                for path in () if folder.is_symlink() else folder.glob(TEMPORARY):
                    remove(path)
            with self.work.locked() if self.work else contextlib.nullcontext():
                yield
        finally:
            lock.release()

    def folder(self, spec: TrialSpec) -> Path:
        """Where a trial's files stand."""
        return self.place(spec.identity)

    def place(self, identity: Identity) -> Path:
        """Where the files of the trial with that identity stand; raises StoreError if a link leads elsewhere."""
        return self._inside(self.root / identity.folder)

    def workplace(self, spec: TrialSpec) -> Path:
        """Where a trial's files stand while it runs."""
        return (self.work or self).folder(spec)

    def _inside(self, folder: Path) -> Path:
        if leads_outside(folder, self.root):
            raise StoreError(
                f"{folder} leads out of {self.root} through a link; nothing is written there: remove the link"
            )
        return folder

    def prepare(self, spec: TrialSpec) -> Path:
        """The folder of a trial that is about to run, made if need be; nothing in it leads elsewhere."""
        folder = self.workplace(spec)
        make_folder(folder)
        remove_links(folder)
        for name in WRITTEN:
            if (folder / name).is_dir():
                raise StoreError(f"{folder / name} is a folder where a file belongs: remove it")
        return folder

    def find(self, spec: TrialSpec) -> Record | None:
        """The trial's record if there is a sound one; a damaged one is moved to ``quarantine/`` first."""
        path = self.folder(spec) / "record.json"
        if not os.path.lexists(path):
            return None
        try:
            record = _read(path)
            if record.identity != spec.identity:
                raise DamagedRecord("it is the record of another trial")
        except DamagedRecord:
            self.set_aside(self.folder(spec), "quarantine")
            return None
        return record

    def state(self, spec: TrialSpec) -> str:
        """A word for people: the status of its record, ``interrupted``, or ``new``. Nothing is changed."""
        folder = self.folder(spec)
        if os.path.lexists(folder / "record.json"):
            try:
                return _read(folder / "record.json").status
            except DamagedRecord:
                return "damaged"
        return "interrupted" if any((self.workplace(spec) / name).exists() for name in UNFINISHED) else "new"

    def finish(self, spec: TrialSpec, record: Record, cost: dict[str, Any]) -> None:
        """Write the record, last of all a trial's files, and remove what only a running trial needs."""
        folder = self.folder(spec)
        make_folder(folder)
        if self.work is not None:
            copy_plain_files(self.workplace(spec), folder, leave=(*UNFINISHED, "record.json", "cost.json"))
        write_atomic(folder / "cost.json", (json.dumps(cost, indent=2, sort_keys=True) + "\n").encode())
        write_atomic(folder / "record.json", seal(record).encode())
        self.tidy(spec)

    def tidy(self, spec: TrialSpec) -> None:
        """Remove what only a running trial needs, and what a kill left half written."""
        folder = self.folder(spec)
        for path in (*(folder / name for name in UNFINISHED), *folder.rglob(TEMPORARY)):
            remove(path)
        if self.work is not None and self.workplace(spec).exists():
            self.work.discard(spec)

    def discard(self, spec: TrialSpec) -> None:
        """Forget a trial's files, its record first, so that it starts from the beginning."""
        folder = self.folder(spec)
        remove(folder / "record.json")
        with store_errors("remove", folder):
            reach("rmtree", folder)
            shutil.rmtree(folder)
        if self.work is not None and self.workplace(spec).exists():
            self.work.discard(spec)

    def supersede(self, specs: Sequence[TrialSpec]) -> list[int]:
        """Set aside the records of other sources of these variants with the same hyperparameters, in one pass.

        Returns:
            For each of ``specs`` how many were moved; the first has the count of those that differ in their seed alone.
        """
        moved = [0] * len(specs)
        folders: dict[tuple[str, str], dict[str, list[int]]] = {}  # of each variant: which specs have the same settings
        for number, spec in enumerate(specs):
            alike = folders.setdefault((spec.dataset, spec.variant), {})
            alike.setdefault(canonical_json.dumps(spec.hyperparameters), []).append(number)
        for (dataset, variant), alike in folders.items():
            sources = {(specs[n].distribution, specs[n].source) for numbers in alike.values() for n in numbers}
            # As canonical JSON has them: a search has hundreds of records, and most are of the code that is installed.
            marks = [(f'"distribution":"{name}"'.encode(), f'"source":"{source}"'.encode()) for name, source in sources]
            for path in sorted((self.root / dataset / variant).glob("seed-*/record.json")):
                try:
                    text = read_plain(path, MOST_BYTES)
                    if len(marks) == 1 and all(mark in text for mark in marks[0]):
                        continue
                    trial = unseal(text).identity.trial
                except (DamagedRecord, OSError):
                    continue
                numbers = alike.get(canonical_json.dumps(trial.hyperparameters), [])
                if numbers and all(
                    (trial.distribution, trial.source) != (specs[n].distribution, specs[n].source) for n in numbers
                ):
                    self.set_aside(path.parent, "superseded")
                    moved[numbers[0]] += 1
        return moved

    def set_aside(self, folder: Path, where: str) -> Path:
        """Move a trial's folder below ``quarantine/`` or ``superseded/``; nothing there is overwritten."""
        wanted = self._inside(self.root / where / self._inside(folder).relative_to(self.root))
        target, n = wanted, 1
        while target.exists():
            n += 1
            target = wanted.with_name(f"{wanted.name}-{n}")
        move(folder, target)
        return target


def _read(path: Path) -> Record:
    """A record; raises DamagedRecord, or StoreError where the disk does not let it be read."""
    with store_errors("read", path):
        return read(path)
