"""Read NumPy arrays from .npz and .npy files that may be damaged or malicious: checked first, never unpickled."""

from __future__ import annotations

import contextlib
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from ganbench.datasets import DatasetError

FREE_RATIO = 1 << 26  # bytes up to which an archive may be packed as tightly as it likes
MOST_RATIO = 200  # deflate reaches 1,000 on zeros; arrays of images stay far below

Take = Callable[[str], np.ndarray]


def checked(path: Path, archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The files of a zip archive; raises DatasetError for links, encryption, paths outside, and zip bombs."""
    for info in archive.infolist():
        place = PurePosixPath(info.filename)
        if place.is_absolute() or ".." in place.parts or "\\" in info.filename or ":" in info.filename:
            raise DatasetError(f"{path} holds {info.filename!r}: a path that leads out of the archive")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DatasetError(f"{path} holds {info.filename!r}: a link or a device")
        if info.flag_bits & 1:
            raise DatasetError(f"{path} holds {info.filename!r}: it is encrypted")
        if info.file_size > max(FREE_RATIO, MOST_RATIO * info.compress_size):
            raise DatasetError(f"{path} holds {info.filename!r}, which unpacks to {info.file_size:,} bytes: refused")
        if not info.is_dir():
            yield info
    # Members that lie upon each other, each of them small.
    total = sum(info.file_size for info in archive.infolist())
    if total > max(FREE_RATIO, MOST_RATIO * path.stat().st_size):
        raise DatasetError(f"{path} unpacks to {total:,} bytes: refused")


@contextlib.contextmanager
def npz(path: Path) -> Iterator[tuple[list[str], Take]]:
    """Open a .npz archive: the names of its arrays, and a function that reads one.

    Raises DatasetError, or what the readers of zip and NumPy raise.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in checked(path, archive)}

        def take(name: str) -> np.ndarray:
            with archive.open(members[name]) as file:
                version = np.lib.format.read_magic(file)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(file)
            if dtype.hasobject or dtype.itemsize * int(np.prod(shape, dtype=object)) > members[name].file_size:
                raise DatasetError(f"{path}: {name} holds objects, or is shorter than it says")
            with archive.open(members[name]) as file:
                return np.lib.format.read_array(file, allow_pickle=False)

        yield list(members), take


def npy(path: Path) -> np.ndarray:
    """The array in a .npy file, memory-mapped; raises what NumPy's reader raises."""
    return np.lib.format.open_memmap(path, mode="r")
