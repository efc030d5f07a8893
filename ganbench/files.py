"""Files in folders that a stranger may have filled: read up to a limit, and never written through a link."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class NotPlain(OSError):
    """What stands there is no regular file, or a larger one than was expected; ``strerror`` says which."""


def read_plain(path: Path, most: int) -> bytes:
    """The content of a regular file.

    A link is not followed, and neither a pipe nor a device is waited for.

    Raises:
        NotPlain: it is no regular file, or has more than ``most`` bytes. OSError: it cannot be read.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise NotPlain(errno.EFBIG, f"it has {size:,} bytes, more than the {most:,} that are read", str(path))
        return file.read(most)


def clear(folder: Path) -> None:
    """Remove links, pipes and sockets that stand in a folder: what is written under their names goes nowhere else."""
    for path in folder.iterdir():
        kind = path.lstat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            path.unlink()


def leads_outside(path: Path, root: Path) -> bool:
    """Whether a path below ``root`` is, through links, somewhere else."""
    return not path.resolve().is_relative_to(root.resolve())


def _opened(path: Path) -> BinaryIO:
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
