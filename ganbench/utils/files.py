"""Files of a results folder, which a stranger may have filled and in which a kill may come at any moment.

What is read is a regular file of a bounded size. What is written appears whole or not at all: under another name,
synced, and renamed; a failure names the file, no link is followed, and every step passes a failpoint.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from ganbench.utils.failpoints import reach

_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class NotPlain(OSError):
    """What stands there is no regular file, or a larger one than was expected; ``strerror`` says which."""


def read_plain(path: Path, most: int) -> bytes:
    """The content of a regular file.

    A link is not followed, and neither a pipe nor a device is waited for.

    Raises:
        NotPlain: it is no regular file, or has more than ``most`` bytes. OSError: it cannot be read.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise NotPlain(errno.EFBIG, f"it has {size:,} bytes, more than the {most:,} that are read", str(path))
        return file.read(most)


def clear(folder: Path) -> None:
    """Remove links, pipes and sockets that stand in a folder: what is written under their names goes nowhere else."""
    with naming("write into", folder):
        paths = list(folder.iterdir())
    for path in paths:
        with naming("remove", path):
            kind = path.lstat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                path.unlink()


def leads_outside(path: Path, root: Path) -> bool:
    """Whether a path below ``root`` is, through links, somewhere else; links in a circle are nowhere inside."""
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # as Python 3.13 has it, and as earlier ones do
        return True


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file to read; raises as ``read_plain`` does, and is held up by nothing either."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError as reason:
        if reason.errno == errno.ELOOP:
            raise NotPlain(reason.errno, "it is a link, not a plain file", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlain(errno.EINVAL, "it is a folder, a pipe or a device, not a plain file", str(path))
    return os.fdopen(descriptor, "rb")


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
            if os.path.lexists(temporary):  # it is made anew: a link of that name is not followed
                temporary.unlink()
            reach("open", path)
            with open(temporary, "xb") as file:
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


def fetch(source: Path, target: Path, leave: Collection[str]) -> None:
    """Copy the regular files of a folder, and of the folders in it, but for some names and what is hidden.

    Each appears whole or not at all; what is no regular file stays where it is.
    """
    make_folder(target)
    with naming("read", source):
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name in leave or entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            fetch(Path(entry.path), target / entry.name, leave)
        elif entry.is_file(follow_symlinks=False):
            with naming("read", Path(entry.path)):
                content = read_plain(Path(entry.path), entry.stat(follow_symlinks=False).st_size)
            write_atomic(target / entry.name, content)


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
