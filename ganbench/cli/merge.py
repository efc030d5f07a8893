"""``ganbench merge``: the trials of several results folders in one, every record verified by its hash."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from ganbench.cli.options import Folder
from ganbench.reporters import DEFAULT
from ganbench.results import rescored
from ganbench.results.records import DamagedRecord, as_json, unseal
from ganbench.results.schema import Record
from ganbench.results.store import TEMPORARY, UNFINISHED, Problem, Store, trial_folders
from ganbench.utils.console import first_few, say
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_DAMAGED, UsageError
from ganbench.utils.files import make_folder, read_plain, remove_links, write_atomic

RECORD, STATE = "record.json", "state.safetensors"
# Nothing else in a stranger's folder is looked at; the record comes last, so that a trial is there whole or not at all.
_FILES = ("cost.json", "history.csv", "log.txt", STATE, rescored.FILE)
_FOLDERS = {
    "samples": re.compile(r"\d{1,18}\.png|points\.csv"),
    "pictures": re.compile(r"(arithmetic|codes|interpolation|nearest)\.png|about\.json"),
    "film": re.compile(r"\d{1,16}(\.surface)?\.png|\d{1,16}\.npy"),
}
_MOST_DIFFERENCES = 4
# Bytes of a file that is copied, which is held in memory: many times what ganbench writes.
_MOST_BYTES = {STATE: 1 << 34, "log.txt": 1 << 28}
_MOST_OTHERS = 1 << 26
_MOST_CHARACTERS = 80  # of a value that differs, in a sentence


@click.command("merge")
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    metavar="FOLDER...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--into", "target", required=True, type=Folder(), help="Results folder that gets the trials.")
def command(sources: tuple[Path, ...], target: Path) -> None:
    """Bring the trials of several results folders together in one, and write its tables.

    Every record is verified by its hash, every trained state by the record. The same record twice is kept once; two
    different records of one trial are an error that names both and says what differs, and neither is copied. What
    is damaged is named and left out. Both end with exit code 3, everything else merged. The same command again
    completes a merge that was interrupted.

    \b
    Examples:
      ganbench merge laptop server --into both
      ganbench merge seeds-0-4 seeds-5-9 --into seeds-0-9
    """
    sys.exit(merge(sources, target))


@dataclass
class Merge:
    """What a merge did so far: counts of trials, what was damaged, and sentences on records that differ."""

    copied: int = 0
    kept: int = 0
    problems: list[Problem] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], target: Path) -> int:
    """Copy the trials of ``sources`` into the results folder ``target``, write its tables, and return the exit code.

    A trial is copied file by file, its record last: killed at any moment it leaves a sound folder, and the same
    call again completes it. Raises UsageError where there is nothing to merge.
    """
    from ganbench.reporters.report import write_reports
    from ganbench.reporters.terminal import show, summarise

    for source in sources:
        if target.exists() and source.samefile(target):
            raise UsageError(f"{source} is the folder to merge into; name the others alone")
    store = Store(target)
    done = Merge()
    trials = _find_trials(sources, done)
    if not trials and not done.problems:
        raise UsageError(f"there are no records in {', '.join(map(str, sources))}; ganbench run makes them")
    with store.locked():
        for place, folders in trials.items():
            _merge_trial(store, place, folders, done)
        contents, report = write_reports(target, DEFAULT)
    show(report)
    summarise(contents, target)
    say(f"{done.copied} trials copied into {target}, {done.kept} were there already")
    for problem in done.problems:
        say(f"left out: {problem.path}: {problem.reason}", sys.stderr)
    for text in done.conflicts:
        say(f"ganbench: {text}", sys.stderr)
    return EXIT_DAMAGED if done.problems or done.conflicts or contents.problems else EXIT_COMPLETED


def _find_trials(sources: Sequence[Path], done: Merge) -> dict[Path, list[Path]]:
    """Find sound records: for each place in a results folder, the ``sources`` that have one there."""
    found: dict[Path, list[Path]] = {}
    for source in dict.fromkeys(sources):
        for folder in trial_folders(source, done.problems):
            place = folder.relative_to(source)
            if not os.path.lexists(folder / RECORD):
                continue
            try:
                _read_verified(source, place)
            except DamagedRecord as reason:
                done.problems.append(Problem(folder / RECORD, str(reason)))
            else:
                found.setdefault(place, []).append(source)
    return found


def _read_verified(root: Path, place: Path) -> tuple[Record, bytes]:
    """Read the record at ``place`` below ``root`` and check its hash: it and its bytes; raises DamagedRecord."""
    try:
        data = _read(root, place / RECORD)
        record = unseal(data)
        if Store(root).place(record.identity) != root / place:
            raise DamagedRecord("it is the record of another trial: the folder was copied or renamed")
    except OSError as reason:
        raise DamagedRecord(f"it cannot be read: {reason}") from None
    return record, data


def _merge_trial(store: Store, place: Path, sources: list[Path], done: Merge) -> None:
    """Copy one trial into the store, unless two of its records differ."""
    roots = list(sources)
    if (store.root / place / RECORD).exists():
        try:
            _read_verified(store.root, place)
            roots.insert(0, store.root)
        except DamagedRecord:
            aside = store.set_aside(store.root / place, "quarantine")
            say(f"{store.root / place} was damaged; it is in {aside} now")
    found: list[tuple[Path, Record, bytes]] = []
    for root in roots:
        try:
            found.append((root, *_read_verified(root, place)))
        except DamagedRecord as reason:  # it was sound when it was found
            done.problems.append(Problem(root / place / RECORD, f"it changed meanwhile: {reason}"))
    if not found:
        return
    (first, record, data), *others = found
    for root, other, _ in others:
        if other != record:
            done.conflicts.append(
                f"{first / place} and {root / place} hold different records of one trial: "
                f"{_differences(record, other)}. Nothing was copied for it; leave out the folder you do not want"
            )
            return
    folder = store.place(record.identity)  # which raises where a link leads out of the target
    for inside in (folder, *(folder / name for name in _FOLDERS)):
        if inside.is_dir():
            remove_links(inside)
    there = first == store.root
    for root in (root for root, _, _ in found if root != store.root):
        _copy_files(root, store.root, place, record, done, replace=root == first)
    if there:
        done.kept += 1
        return
    make_folder(folder)
    write_atomic(folder / RECORD, data)  # the bytes that were verified: the file may be another by now
    done.copied += 1
    for leftover in (*(store.root / place / name for name in UNFINISHED), *(store.root / place).rglob(TEMPORARY)):
        leftover.unlink(missing_ok=True)


def _copy_files(source: Path, target: Path, place: Path, record: Record, done: Merge, replace: bool) -> None:
    """Copy the known files of a trial, all but the record; the target's own are overwritten only with ``replace``."""
    for name in _known_files(source / place):
        if name == STATE and record.state_sha256 is None:  # it crashed after it was written: nothing names it
            continue
        path, copy = source / place / name, target / place / name
        try:
            data = _read(source, place / name)
            _check_hash(path, data, record)
            if copy.exists() and not replace:
                if name == rescored.FILE and _read(target, place / name) != data:
                    raise ValueError("the trial already has another one, which is kept")
                continue
        except OSError as reason:
            done.problems.append(Problem(path, f"it cannot be read: {reason.strerror}"))
        except ValueError as reason:
            done.problems.append(Problem(path, str(reason)))
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(copy, data)


def _known_files(folder: Path) -> Iterator[str]:
    """The known files of a trial's folder, as paths below it."""
    yield from (name for name in _FILES if os.path.lexists(folder / name))
    for name, known in _FOLDERS.items():
        below = folder / name
        if below.is_dir() and not below.is_symlink():
            yield from sorted(f"{name}/{path.name}" for path in below.iterdir() if known.fullmatch(path.name))


def _check_hash(path: Path, data: bytes, record: Record) -> None:
    """Raise ValueError unless a file that carries a hash is what the record belongs to."""
    from ganbench.results.state_digest import stored_digest

    if path.name == rescored.FILE:
        rescored.unseal(data, record)
    elif path.name == STATE and stored_digest(data) != record.state_sha256:
        raise ValueError("it is not the state that the record names")


def _read(root: Path, path: Path) -> bytes:
    """Read a regular file below ``root``, reached without a link; raises OSError for anything else."""
    whole = root
    for part in path.parts:
        whole = whole / part
        if whole.is_symlink():
            raise OSError(errno.ELOOP, f"{whole.name} is a link, which is not followed")
    return read_plain(whole, _MOST_BYTES.get(path.name, _MOST_OTHERS))


def _differences(one: Record, other: Record) -> str:
    """Say what differs, ``environment.packages.torch differs: 2.13.0 and 2.14.1``, what explains most first."""
    order = ("environment", "status", "reason", "metrics", "reference", "values")
    a, b = as_json(one), as_json(other)
    names = sorted((a.keys() | b.keys()) - {"sha256", "environment_hash"}, key=lambda n: (n not in order, n))
    found = [line for name in names for line in _differing_values(name, a.get(name), b.get(name))]
    return first_few(found, _MOST_DIFFERENCES, "; ")


def _differing_values(name: str, a: Any, b: Any) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            yield from _differing_values(f"{name}.{key}", a.get(key), b.get(key))
    elif a != b:
        values = [str(value)[:_MOST_CHARACTERS] for value in (a, b)]
        nested = isinstance(a, list | dict) or isinstance(b, list | dict)
        yield f"{name} differs" + ("" if nested else f": {values[0]} and {values[1]}")
