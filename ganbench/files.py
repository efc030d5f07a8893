"""Writing into a results folder: a file appears whole or not at all, and a failure names the file.

A file is written under another name, synced, and renamed. Every step passes a failpoint.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ganbench.failpoints import reach


class StoreError(RuntimeError):
    """The results folder cannot be used. The message names the file and says what to do."""


@contextlib.contextmanager
def naming(what: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError: ``cannot <what> <path>``."""
    try:
        yield
    except OSError as reason:
        raise StoreError(
            f"cannot {what} {path}: {reason.strerror or reason}; nothing finished was lost: "
            "mend that and run the same command again"
        ) from reason


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one, never part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming("write", path):
        try:
            reach("open", path)
            with open(temporary, "wb") as file:
                _write(file.fileno(), path, "write", data)
                reach("fsync", path)
                os.fsync(file.fileno())
            reach("rename", path)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file; a crash may leave part of it."""
    with naming("write", path):
        reach("open", path)
        with open(path, "ab") as file:
            _write(file.fileno(), path, "append", data)


def make_folder(path: Path) -> None:
    """Create a folder and those above it; one that is there already is left as it is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with naming("create", path):
        reach("mkdir", path)
        path.mkdir(exist_ok=True)
        _sync_folder(path)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    if not path.is_symlink() and not path.exists():
        return
    with naming("remove", path):
        reach("unlink", path)
        path.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Move a folder to a place that is free, in one step."""
    make_folder(target.parent)
    with naming("move", source):
        reach("rename", source)
        os.replace(source, target)


def _write(descriptor: int, path: Path, operation: str, data: bytes) -> None:
    """Write all of it; its failpoint is in the middle, where half a file is on the disk."""
    middle = len(data) // 2
    _write_all(descriptor, memoryview(data)[:middle])
    reach(operation, path)
    _write_all(descriptor, memoryview(data)[middle:])


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_folder(path: Path) -> None:
    """Make the entry of a file or folder in the one above it last, where the file system can."""
    if os.name == "nt":  # a folder cannot be opened for syncing there
        return
    reach("sync", path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as reason:
        if reason.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folder
            raise
    finally:
        os.close(descriptor)
