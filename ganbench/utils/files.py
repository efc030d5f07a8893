"""Reading and writing files safely: a stranger may have made them, and a kill may come while one is written.

Only regular files of a bounded size are read. A file is written under another name, synced and renamed, so that it is
there whole or not at all; a failure names the file, no link is followed, and every step passes a failpoint.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator
from io import BufferedReader
from pathlib import Path

from ganbench.utils.failpoints import reach

_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))

_REMEDIES = {
    (errno.ENOSPC, errno.EDQUOT): "make room and run the same command again: nothing finished was lost",
    (errno.EACCES, errno.EPERM): "this user may not do that there: change the permissions",
    (errno.EROFS,): "nothing can be written there until it is mounted for writing",
    (errno.EEXIST, errno.ENOTDIR): "a file stands where a folder belongs: move the file away",
    (errno.EISDIR, errno.ENOTEMPTY): "a folder stands where a file belongs: move the folder away",
    (errno.ENOENT,): "a folder of its path is missing: make it first",
    (errno.ENAMETOOLONG,): "give a shorter name",
    (errno.ELOOP,): "a link stands there, or links lead in a circle: remove the link",
}


class NotPlain(OSError):
    """It is not a regular file, or a larger one than was expected; ``strerror`` says which."""


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


def remove_links(folder: Path) -> None:
    """Remove links, pipes and sockets from a folder, so that writing to such a name does not lead elsewhere."""
    with store_errors("write into", folder):
        paths = list(folder.iterdir())
    for path in paths:
        with store_errors("remove", path):
            kind = path.lstat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                path.unlink()


def leads_outside(path: Path, root: Path) -> bool:
    """Whether links lead a path below ``root`` out of it; links in a circle count as leading out."""
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # as Python 3.13 has it, and as earlier ones do
        return True


def open_plain(path: Path) -> BufferedReader:
    """Open a regular file to read, without waiting for a pipe or device; raises as ``read_plain`` does."""
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
def store_errors(what: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError: ``cannot <what> <path>``."""
    try:
        yield
    except OSError as reason:
        raise StoreError(f"cannot {what} {path}: {with_remedy(reason)}") from reason


def with_remedy(reason: OSError) -> str:
    """What the system says of a file that cannot be used, and what to do about it."""
    otherwise = "nothing finished was lost: mend that and run the same command again"
    remedy = next((text for codes, text in _REMEDIES.items() if reason.errno in codes), otherwise)
    return f"{reason.strerror or reason}; {remedy}"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one, never part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with store_errors("write", path):
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


def write_output(path: Path, data: bytes) -> None:
    """Write a file that a user named: a link stays one, and what is written to a pipe or a device goes into it."""
    with store_errors("write", path):
        if path.exists() and not path.is_dir() and (not path.is_file() or path.parent == Path("/dev")):
            path.write_bytes(data)
            return
    write_atomic(path.resolve() if path.is_symlink() else path, data)


def cache_folder(name: str) -> Path:
    """A folder of this user's cache, which need not exist yet; whoever removes it loses nothing but time."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("ganbench")) / name


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, and rename it to ``path`` at the end of the block; for caches, not synced.

    A block that raises leaves no file behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file; a crash may leave part of it."""
    with store_errors("write", path):
        reach("open", path)
        with open(path, "ab") as file:
            _write(file.fileno(), path, "append", data)


def make_folder(path: Path) -> None:
    """Create a folder and those above it; one that is there already is left as it is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with store_errors("create", path):
        reach("mkdir", path)
        path.mkdir(exist_ok=True)
        _sync_folder(path)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    if not path.is_symlink() and not path.exists():
        return
    with store_errors("remove", path):
        reach("unlink", path)
        path.unlink(missing_ok=True)


def copy_plain_files(source: Path, target: Path, leave: Collection[str]) -> None:
    """Copy the regular files of a folder and of the folders in it, except hidden ones and those named in ``leave``.

    Each copy is there whole or not at all; links, pipes and devices are not copied.
    """
    make_folder(target)
    with store_errors("read", source):
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name in leave or entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            copy_plain_files(Path(entry.path), target / entry.name, leave)
        elif entry.is_file(follow_symlinks=False):
            with store_errors("read", Path(entry.path)):
                content = read_plain(Path(entry.path), entry.stat(follow_symlinks=False).st_size)
            write_atomic(target / entry.name, content)


def move(source: Path, target: Path) -> None:
    """Move a folder to a place that is free, in one step."""
    make_folder(target.parent)
    with store_errors("move", source):
        reach("rename", source)
        os.replace(source, target)


def _write(descriptor: int, path: Path, operation: str, data: bytes) -> None:
    """Write all of it, passing the failpoint when half of it is on the disk."""
    middle = len(data) // 2
    _write_all(descriptor, memoryview(data)[:middle])
    reach(operation, path)
    _write_all(descriptor, memoryview(data)[middle:])


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_folder(path: Path) -> None:
    """Sync the folder that holds ``path``, so that its entry survives a crash, where the file system can."""
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
